//! The feed: its conversations without a socket, over real sockets, and from recordings.

mod books;
mod replay;
mod sockets;
mod talk;
mod toy;
mod unreadable;
