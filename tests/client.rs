//! The JavaScript client in real Chromium, in a worker and in Node.js, on real servers, through
//! proxies that cut, delay, buffer and block. At the end what each application heard is compared
//! with what was committed: none missing, none twice, each row in order.

mod crowd;
mod cuts;
mod nodes;
mod proof;
mod random;
mod readers;
mod rig;
mod shop;
mod tokens;
mod ways;
