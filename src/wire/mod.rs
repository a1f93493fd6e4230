//! Framing and text of the outside world: JSON, WebSocket, HTTP, SSE. Knows no trading, opens no socket.

pub mod json;
pub mod timestamp;
pub mod websocket;
