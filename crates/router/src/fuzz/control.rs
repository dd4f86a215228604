//! Bytes as the control protocol: frames end where they say, what is a message is one again when it is written, and no table or certificate that
//! anybody names does more than be refused.

use super::{
    Found,
    other::{self, Script},
};
use crate::{frame, state::Given, tls::Certificates};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use teal_core::control::{self, Reply, Request};

/// What one frame may hold here.
const MOST: usize = 64 * 1024;

/// Reads frames and what is in them.
pub(crate) fn check(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let frames = other::wait(frames(bytes));
    assert_eq!(frames, plainly(bytes), "frames end elsewhere");
    for body in frames {
        found.compared += 1;
        if let Some(request) = again::<Request>(&body) {
            found.written += 1;
            obey(request);
        }
        found.written += u64::from(again::<Reply>(&body).is_some());
    }
    found
}

/// All frames, up to what is none.
async fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut stream, mut all) = (Script(bytes), Vec::new());
    while let Ok(body) = frame::read(&mut stream, MOST).await {
        all.push(body);
    }
    all
}

/// The same by the protocol's own words.
fn plainly(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some((prefix, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > MOST || rest.len() < length {
            break;
        }
        all.push(rest[..length].to_vec());
        bytes = &rest[length..];
    }
    all
}

/// The message, which must be the same when it was written and read once more.
fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) -> Option<T> {
    let message: T = control::decode(body).ok()?;
    let mut bytes = Vec::new();
    control::encode(&message, &mut bytes).expect("what was read can be written");
    let back: T = control::decode(&bytes[4..]).expect("what was written can be read");
    assert_eq!(back, message);
    Some(message)
}

/// What is looked into before anything is done.
fn obey(request: Request) {
    if let Request::Certificates { certificates, proofs } = request {
        Certificates::default().replace(&Given { certificates, proofs });
    }
}
