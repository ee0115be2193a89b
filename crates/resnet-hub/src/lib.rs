//! Files of the Hugging Face hub, in the cache that its own tools use.
//!
//! [`Hub::fetch`] gives the path of a file of a repository: from the cache, or downloaded. A download that was cut off
//! goes on, its length is compared with what the server promised, and its checksum where the server gives one (it does
//! for large files). Nothing that fails a check stays in the cache.
//!
//! ```no_run
//! use resnet_hub::{Hub, Repository};
//! let hub = Hub::from_env()?;
//! let path = hub.fetch(&Repository::model("timm/resnet50.a1_in1k")?, "config.json", &mut ())?;
//! # Ok::<(), resnet_hub::Error>(())
//! ```

mod checksum;
mod error;
mod fetch;
mod hub;
mod progress;
mod repository;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::{Error, FetchError, Result};
pub use hub::Hub;
pub use progress::Progress;
pub use repository::{Kind, Repository};
