//! A real HTTP server for tests: a socket, not a stand-in for the client.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A request as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).cloned()
    }
}

/// Ends when it is dropped.
pub(crate) struct TestServer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Seen>>>,
    task: AbortHandle,
}

impl TestServer {
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves on a free port.
pub(crate) async fn serve(
    handle: impl FnMut(&Request<Bytes>) -> Response<Full<Bytes>> + Send + 'static,
) -> TestServer {
    serve_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), handle)
}

/// Serves on this listener, one connection for each request.
pub(crate) fn serve_on(
    listener: TcpListener,
    handle: impl FnMut(&Request<Bytes>) -> Response<Full<Bytes>> + Send + 'static,
) -> TestServer {
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let handle = Arc::new(Mutex::new(handle));
    let noted = requests.clone();
    let accept = async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (handle, noted) = (handle.clone(), noted.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (handle, noted) = (handle.clone(), noted.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
                    let headers =
                        parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
                    let path = parts.uri.to_string();
                    noted.lock().unwrap().push(Seen { path, headers, body: body.clone() });
                    let answer = (handle.lock().unwrap())(&Request::from_parts(parts, body));
                    Ok::<_, Infallible>(answer)
                }
            });
            tokio::spawn(
                http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service),
            );
        }
    };
    TestServer { url, requests, task: tokio::spawn(accept).abort_handle() }
}

pub(crate) fn answer(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status).header("content-type", content_type);
    answer.body(Full::new(body.into())).unwrap()
}
