//! What EC2's errors mean to a leader (EC2 API reference, "Error codes for the Amazon EC2 API").

use crate::scaler::cloud::{CloudError, MachineId};
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::config::interceptors::InterceptorContext;
use aws_sdk_ec2::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::run_instances::RunInstancesError;

/// Longest part of EC2's message that is passed on, characters.
const MAX_MESSAGE: usize = 500;

/// No machine of that type there now, or no more on this account.
const NO_CAPACITY: [&str; 14] = [
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "ReservationCapacityExceeded",
    "ResourceCountExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
    // Of types that a zone does not have.
    "Unsupported",
    "UnsupportedHostConfiguration",
    "VcpuLimitExceeded",
    "VolumeLimitExceeded",
];

/// Asked too often.
const THROTTLED: [&str; 5] = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "RequestThrottled",
    "EC2ThrottledException",
];

/// Ends the attempts where there is no capacity. EC2 says so with HTTP 500, which the SDK takes for a failure that
/// passes, and asking for the same again and again keeps the leader from asking for another.
#[derive(Debug)]
pub(super) struct Capacity;

impl ClassifyRetry for Capacity {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else { return RetryAction::NoActionIndicated };
        let code = error
            .as_operation_error()
            .and_then(|error| error.downcast_ref::<RunInstancesError>())
            .and_then(ProvideErrorMetadata::code);
        match code {
            Some(code) if NO_CAPACITY.contains(&code) => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "no capacity"
    }
}

/// What an error means, of the launch of a number or of a call that names a machine.
pub(super) fn cloud_error<E>(
    error: &SdkError<E, HttpResponse>,
    number: Option<u64>,
    machine: Option<&MachineId>,
) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error {
        // Nothing was sent; most often there are no credentials.
        SdkError::ConstructionFailure(_) => CloudError::Refused(all_of(error)),
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or_default();
            let said = short(&format!("{code}: {}", answer.err().message().unwrap_or_default()));
            let status = answer.raw().status().as_u16();
            match (code, number, machine) {
                ("IdempotentParameterMismatch", Some(number), _) => CloudError::Taken(number),
                ("IdempotentInstanceTerminated", Some(number), _) => CloudError::UsedUp(number),
                ("InvalidInstanceID.NotFound", _, Some(machine)) => CloudError::Unknown(machine.clone()),
                _ if THROTTLED.contains(&code) => CloudError::Throttled(said),
                _ if NO_CAPACITY.contains(&code) => CloudError::NoCapacity(said),
                _ if (400..500).contains(&status) => CloudError::Refused(said),
                _ => CloudError::Unreachable(format!("HTTP {status}: {said}")),
            }
        }
        _ => CloudError::Unreachable(all_of(error)),
    }
}

/// An error with its causes, which say what was wrong.
fn all_of(error: &(impl std::error::Error + 'static)) -> String {
    short(&DisplayErrorContext(error).to_string())
}

fn short(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}
