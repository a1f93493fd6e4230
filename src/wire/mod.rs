//! Framing and text of the outside world: JSON, WebSocket, HTTP, SSE. Knows no trading, opens no socket.

pub mod gzip;
pub mod http;
pub mod json;
pub mod protobuf;
pub mod sse;
pub mod timestamp;
pub mod websocket;
