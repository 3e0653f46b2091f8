//! docs/sse.md
