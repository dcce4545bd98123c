//! A node of a Skein mesh.
//!
//! | module | what it does | knows |
//! | --- | --- | --- |
//! | [`signaling`] | the client's edge: HTTP, WebSocket, tokens, relaying to a host | `mesh` |
//! | [`session`] | one peer on its host: protoo requests turned into media calls | `room`, `media` |
//! | [`room`] | a room's home (roster, admission) and a host's part of a room, with its pipes | `mesh`, `media`, `placement` |
//! | [`media`] | workers, routers, transports, pipes, observers, what streams cost; the only code that names mediasoup | `placement` |
//! | [`mesh`] | identity, gossip, membership, streams between nodes; the only code that names quinn and chitchat | nobody |
//! | [`placement`] | capacity, cost, choice of host, relays, who moves; pure | nobody |
//! | [`election`] | who leads: a lease among voters; pure | nobody |
//! | [`enrol`] | nodes get certificates, and keep them good | `mesh`, `scaler` |
//! | [`scaler`] | machines are launched and retired: what is wanted (pure), the clouds, one step after the other | `mesh`, `election` |
//! | [`operator`] | HTTP API, metrics, events, and the pages that the node serves | all of them, to show them |
//! | [`node`] | joins the parts | all of them |
//!
//! A join, from outside in: [`signaling`] takes the WebSocket and asks the room's home, found by hashing, to admit the
//! peer. The home ([`room::homes`]) lets [`placement`] order the workers and asks them one by one to keep room. The
//! entry then opens a stream to the host that did, where a [`session`] speaks protoo over it and holds the peer's
//! media. What the room's other peers send is announced through the home and brought by [`room::pipes`].

mod clock;
pub mod election;
pub mod enrol;
pub mod media;
pub mod mesh;
pub mod node;
pub mod operator;
pub mod placement;
pub mod room;
pub mod scaler;
pub mod session;
pub mod signaling;
