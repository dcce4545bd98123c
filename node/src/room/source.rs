//! The sending end of pipes.

use super::host::HostRoom;
use super::pipes::{self, Lease};
use crate::media::{MediaError, PipeConsumer, PipeTransport};
use crate::mesh::{MeshError, MeshStream};
use skein_proto::ids::{NodeId, ProducerId};
use skein_proto::rpc::{PipeEvent, PipeOpen, PipeRequest};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// How many changes of producers (pause, resume, close) may wait for one pipe.
const CHANGES: usize = 1024;

/// Why a pipe's sending end stops.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error(transparent)]
    Mesh(#[from] MeshError),
    #[error("{0}")]
    Refused(String),
}

/// A producer that goes into the pipe. The lease keeps it here where it is itself piped.
struct Sent {
    consumer: PipeConsumer,
    _lease: Option<Lease>,
}

/// Serves the sending end of a pipe for as long as its stream lasts.
pub async fn serve(room: Option<Arc<HostRoom>>, peer: NodeId, open: PipeOpen, mut stream: MeshStream) {
    let outcome = match &room {
        Some(room) => {
            tokio::select! {
                () = room.cancel.cancelled() => Ok(()),
                outcome = work(room, &peer, &open, &mut stream) => outcome,
            }
        }
        None => Err(SourceError::Refused(format!("room {}: nobody of it is here", open.room))),
    };
    if let Err(error) = outcome {
        tracing::debug!(room = %open.room, %peer, %error, "pipe refused or broken");
        let _ = stream.send(&PipeEvent::Refused(error.to_string())).await;
    }
}

async fn work(
    room: &Arc<HostRoom>,
    peer: &NodeId,
    open: &PipeOpen,
    stream: &mut MeshStream,
) -> Result<(), SourceError> {
    if open.to.node != *peer {
        return Err(SourceError::Refused(format!("{peer} asks for a pipe to {}", open.to.node)));
    }
    let stage = room.stage(open.from).await?;
    let transport = stage.router.create_pipe_transport(peer != room.node()).await?;
    transport.connect(open.end.clone()).await?;
    stream.send(&PipeEvent::Opened(transport.end()?)).await?;
    let (sender, mut changes) = mpsc::channel(CHANGES);
    let mut sent: HashMap<ProducerId, Sent> = HashMap::new();
    loop {
        tokio::select! {
            request = stream.recv::<PipeRequest>() => match request? {
                Some(PipeRequest::Consume(producer)) => {
                    let event = match consume(room, &transport, open.from, &producer, &sender).await {
                        Ok((one, event)) => {
                            sent.insert(producer, one);
                            event
                        }
                        Err(error) => {
                            tracing::debug!(room = %room.id, %producer, %error, "a producer asked for is not to be had");
                            PipeEvent::Gone(producer)
                        }
                    };
                    stream.send(&event).await?;
                }
                Some(PipeRequest::Pause(producer)) => {
                    if let Some(one) = sent.get(&producer) {
                        one.consumer.pause().await?;
                    }
                }
                Some(PipeRequest::Resume(producer)) => {
                    if let Some(one) = sent.get(&producer) {
                        one.consumer.resume().await?;
                    }
                }
                Some(PipeRequest::Stop(producer)) => {
                    sent.remove(&producer);
                }
                None => return Ok(()),
            },
            Some((producer, change)) = changes.recv() => {
                if !sent.contains_key(&producer) {
                    continue;
                }
                let event = match change {
                    Some(true) => PipeEvent::Paused(producer),
                    Some(false) => PipeEvent::Resumed(producer),
                    None => {
                        sent.remove(&producer);
                        PipeEvent::Gone(producer)
                    }
                };
                stream.send(&event).await?;
            }
        }
    }
}

async fn consume(
    room: &Arc<HostRoom>,
    transport: &PipeTransport,
    worker: u16,
    producer: &ProducerId,
    changes: &mpsc::Sender<(ProducerId, Option<bool>)>,
) -> Result<(Sent, PipeEvent), SourceError> {
    let entry = room
        .producer(producer)
        .ok_or_else(|| SourceError::Refused(format!("producer {producer}: there is none")))?;
    let lease =
        pipes::ensure(room, &entry, worker).await.map_err(|error| SourceError::Refused(error.to_string()))?;
    let consumer = transport.consume(producer, changes.clone()).await?;
    let event = PipeEvent::Consumed {
        producer: producer.clone(),
        kind: consumer.kind(),
        rtp_parameters: consumer.rtp_parameters()?,
        paused: consumer.producer_paused(),
        sends: entry.sends,
    };
    Ok((Sent { consumer, _lease: lease }, event))
}
