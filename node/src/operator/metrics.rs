//! `/metrics`, in the OpenMetrics text format.

use super::Operator;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use skein_proto::operator::{MeshStatus, NodeDetail, WorkerDetail};
use std::fmt;
use std::time::{Duration, SystemTime};

/// Everything the node counts, as it is now.
pub fn text(operator: &Operator) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("skein");
    registry.register_collector(Box::new(Snapshot {
        node: operator.node_detail(),
        mesh: operator.mesh_status(),
        waiting: count(operator.homes.waiting()),
        certificate: operator.mesh.certificate().left(SystemTime::now()),
    }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Snapshot {
    node: NodeDetail,
    mesh: MeshStatus,
    waiting: u32,
    /// How long the own certificate is good.
    certificate: Duration,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let node = &self.node;
        let gauges = [
            ("sessions", "Peers whose transports the node holds", node.sessions),
            ("sockets", "WebSockets that the node holds", node.sockets),
            ("rooms", "Rooms that have sessions on the node", count(node.rooms.len())),
            ("routers", "Routers, one for a room and worker", node.routers),
            ("transports", "WebRTC transports", node.transports),
            ("producers", "Producers of own peers", node.producers),
            ("consumers", "Consumers of own peers", node.consumers),
            ("data_producers", "Data producers of own peers", node.data_producers),
            ("data_consumers", "Data consumers of own peers", node.data_consumers),
            ("pipe_transports", "Ends of pipes", node.pipe_transports),
            ("piped_producers", "Producers that come in through pipes", count(node.pipes.len())),
            ("data_pipes", "Data producers that come in from elsewhere", node.data_pipes),
            ("joins_waiting", "Joins that wait for a machine at the node's homes", self.waiting),
            ("mesh_nodes", "Nodes of the mesh that are not dead", count(self.mesh.nodes.len())),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        let help = "Seconds until the node's certificate expires";
        let seconds = i64::try_from(self.certificate.as_secs()).unwrap_or(i64::MAX);
        let certificate = ConstGauge::new(seconds);
        let name = "certificate_expires_seconds";
        certificate.encode(encoder.encode_descriptor(name, help, None, certificate.metric_type())?)?;
        let per_worker: [(&str, &str, OfWorker); 4] = [
            ("worker_streams", "Streams that a worker carries", |worker| worker.streams),
            ("worker_reserved_streams", "Streams reserved on a worker", |worker| worker.reserved),
            ("worker_free_streams", "Streams that a worker can still carry", |worker| worker.free_streams),
            ("worker_total_streams", "Streams that a worker can carry in all", |worker| worker.total_streams),
        ];
        for (name, help, value) in per_worker {
            let mut descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for worker in &node.workers {
                let labels = [("worker", worker.index.to_string())];
                ConstGauge::new(i64::from(value(worker))).encode(descriptor.encode_family(&labels)?)?;
            }
        }
        for (name, value) in &node.counters {
            let help = name.replace('_', " ");
            // What can go down is no counter.
            if name == "connections" {
                gauge(&mut encoder, name, &help, u32::try_from(*value).unwrap_or(u32::MAX))?;
                continue;
            }
            let counter = ConstCounter::new(*value);
            counter.encode(encoder.encode_descriptor(name, &help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

/// One figure of a worker.
type OfWorker = fn(&WorkerDetail) -> u32;

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u32) -> fmt::Result {
    let gauge = ConstGauge::new(i64::from(value));
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}
