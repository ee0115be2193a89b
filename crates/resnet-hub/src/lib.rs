//! Files of the Hugging Face hub, in the cache that its own tools use.
//!
//! [`Hub::fetch`] gives the path of a file of a repository: from the cache, or downloaded. A download that was cut off
//! goes on, its length is compared with what the server promised, and its checksum where the server gives one (it does
//! for large files). Nothing that fails a check stays in the cache. Mirrors are taken as they are: without ranges,
//! without lengths, with small files compressed. The cache is that of Python's huggingface_hub, which finds in it what
//! was downloaded here and the other way round; two processes may download at once.
//!
//! ```
//! use resnet_hub::{Hub, Repository};
//!
//! let hub = Hub::from_env()?; // the environment says where the cache is; without it, the usual place
//! # // The same of a hub on this machine: documentation is tested without a network.
//! # use resnet_hub::testing::{Mood, Server};
//! # let path = "/timm/resnet50.a1_in1k/resolve/main/config.json".to_string();
//! # let server = Server::start([(path, br#"{"architecture": "resnet50"}"#.to_vec())].into(), Mood::Healthy)?;
//! # let cache = tempfile::tempdir()?;
//! # let hub = server.hub(cache.path());
//! let path = hub.fetch(&Repository::model("timm/resnet50.a1_in1k")?, "config.json", &mut ())?;
//! assert!(std::fs::read_to_string(path)?.contains("resnet50"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! - `testing`: a hub on this machine, for tests of programs that use one.

mod answer;
mod cache;
mod checksum;
mod error;
mod failure;
mod fetch;
mod http;
mod hub;
mod kind;
mod progress;
mod repository;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::{Error, FetchError, Result};
pub use hub::Hub;
pub use kind::Kind;
pub use progress::Progress;
pub use repository::Repository;
