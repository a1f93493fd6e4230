//! Framing and text formats: JSON, WebSocket, HTTP, SSE. Contains no trading logic and opens no socket.

pub mod gzip;
pub mod http;
pub mod json;
pub mod protobuf;
pub mod query;
pub mod sse;
pub mod timestamp;
pub mod url;
pub mod websocket;
