//! Rooms: the home, which keeps a room's roster and admits peers, and the host's part, which holds peers' media.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`home`] | a room at its home: pure, a state and what comes in |
//! | [`homes`] | all rooms whose home the node is, their hosts' streams, admission |
//! | [`roster`] | a roster and the differences between two |
//! | [`host`] | a room on a host: its own peers, what it knows of the others', its routers |
//! | [`clear`] | a full worker is left by other rooms for a newcomer to one |
//! | [`link`] | a host's stream to the room's home |
//! | [`pipes`], [`source`] | the receiving and the sending end of pipes |
//! | [`data`] | data channels between routers |

pub mod clear;
pub mod data;
pub mod home;
pub mod homes;
pub mod host;
pub mod link;
pub mod pipes;
pub mod roster;
pub mod source;

pub use homes::Homes;
pub use host::{HostRoom, RoomEvent, Rooms};
