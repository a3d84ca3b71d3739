//! A second hand on the socket, to end what the client library cannot end by itself: a
//! handshake that is never answered, and a good-bye to somebody who is gone.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Ends a socket, at the latest when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Cut(Hand);

/// What the socket is put into, once there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hand(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    socket: Option<TcpStream>,
    is_cut: bool,
}

impl Cut {
    pub(crate) fn hand(&self) -> Hand {
        self.0.clone()
    }

    /// Ends the socket, and every one that is held later.
    pub(crate) fn now(&self) {
        let mut held = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.is_cut = true;
        if let Some(socket) = held.socket.take() {
            // It fails when the socket has ended already, which is what is wanted.
            socket.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.now();
    }
}

impl Hand {
    /// Takes hold of a socket.
    ///
    /// # Errors
    /// It was cut before, or there are no more file descriptors.
    pub(crate) fn hold(&self, socket: &impl AsFd) -> io::Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_cut {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "given up"));
        }
        held.socket = Some(socket.as_fd().try_clone_to_owned()?.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_socket_ends_with_its_cut_and_none_is_held_after_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let cut = Cut::default();
        let hand = cut.hand();
        hand.hold(&client).unwrap();
        drop(cut);
        assert_eq!(server.read(&mut [0]).unwrap(), 0, "the other side sees the end");
        assert!(hand.hold(&client).is_err());
    }
}
