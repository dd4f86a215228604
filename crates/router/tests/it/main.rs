//! The router as a whole on loopback: real sockets, in-process routers on free ports, one binary so that it is linked once.

mod accesslog;
mod app;
mod autobahn;
mod bodies;
mod client;
mod control;
mod counts;
mod edges;
mod engine;
mod fallback;
mod h2_exchanges;
mod h2_frames;
mod limits;
mod measure;
mod paths;
mod proxied;
mod rig;
mod scanners;
mod secure;
mod smuggling;
mod sticky;
mod streams;
mod succession;
mod supervisor;
mod switch;
