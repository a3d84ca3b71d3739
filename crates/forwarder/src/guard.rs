//! The guard of outgoing calls: a name is resolved here and nowhere else, and only
//! addresses that may be called come out of it.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use orderwire_types::address::{Reach, reach};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Finds the addresses of a name.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a host, in the order in which they should be tried. Whoever calls
    /// bounds the time.
    ///
    /// # Errors
    /// When the name has none or the resolver is away.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// An address that must not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}, which is not called{remedy}")]
pub(crate) struct Refused {
    address: IpAddr,
    what: &'static str,
    remedy: &'static str,
}

/// Lets an address pass that may be called.
pub(crate) fn check(address: IpAddr, allow_private: bool) -> Result<(), Refused> {
    match reach(address) {
        Reach::Public => Ok(()),
        Reach::Private(_) if allow_private => Ok(()),
        Reach::Private(what) => {
            Err(Refused { address, what, remedy: "; allow it with allow_private: true if it is meant" })
        }
        Reach::Never(what) => Err(Refused { address, what, remedy: "" }),
    }
}

/// The guard in the place of the HTTP client's resolver: the client connects to what
/// comes out and asks nobody again.
pub(crate) struct Guard {
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) allow_private: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, allow_private) = (Arc::clone(&self.lookup), self.allow_private);
        Box::pin(async move { resolve(lookup.as_ref(), name.as_str(), allow_private).await })
    }
}

async fn resolve(
    lookup: &dyn Lookup,
    host: &str,
    allow_private: bool,
) -> Result<Addrs, Box<dyn Error + Send + Sync>> {
    let found = lookup.addresses(host).await?;
    let mut allowed = Vec::new();
    let mut refused = None;
    for address in found {
        match check(address, allow_private) {
            // The port is that of the URL.
            Ok(()) => allowed.push(SocketAddr::new(address, 0)),
            Err(why) => refused = Some(why),
        }
    }
    allowed.truncate(ADDRESSES_MAX);
    match (allowed.is_empty(), refused) {
        (false, _) => Ok(Box::new(allowed.into_iter())),
        (true, Some(why)) => Err(why.into()),
        (true, None) => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<IpAddr>);

    #[async_trait]
    impl Lookup for Fixed {
        async fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.clone())
        }
    }

    async fn passed(addresses: &[&str], allow_private: bool) -> Result<Vec<String>, String> {
        let fixed = Fixed(addresses.iter().map(|address| address.parse().unwrap()).collect());
        let found =
            resolve(&fixed, "shop.example", allow_private).await.map_err(|error| error.to_string())?;
        Ok(found.map(|address| address.ip().to_string()).collect())
    }

    #[tokio::test]
    async fn only_addresses_that_may_be_called_pass() {
        let mixed = ["10.0.0.1", "1.1.1.1", "::ffff:127.0.0.1", "2606:4700::1", "169.254.169.254"];
        assert_eq!(passed(&mixed, false).await.unwrap(), ["1.1.1.1", "2606:4700::1"]);
        let allowed = passed(&mixed, true).await.unwrap();
        assert_eq!(allowed, ["10.0.0.1", "1.1.1.1", "::ffff:127.0.0.1", "2606:4700::1"]);
        let refused = passed(&["127.0.0.1"], false).await.unwrap_err();
        assert!(refused.contains("127.0.0.1 is a loopback address"), "{refused}");
        assert!(refused.contains("allow_private"), "{refused}");
        let never = passed(&["169.254.169.254"], true).await.unwrap_err();
        assert!(never.contains("link-local") && !never.contains("allow_private"), "{never}");
        assert!(passed(&[], true).await.unwrap_err().contains("no address"));
    }
}
