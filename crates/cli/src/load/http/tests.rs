use super::*;

/// What a server that writes these pieces, one after the other, is read as, and
/// whether the connection is kept.
async fn answers<P: AsRef<[u8]> + Sync + 'static>(pieces: &'static [P]) -> (Result<Answer, String>, bool) {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut socket, _) = server.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut request = [0; 4_096];
        assert!(socket.read(&mut request).await.unwrap() > 0);
        for piece in pieces {
            socket.write_all(piece.as_ref()).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut connection = Connection::new(Target::new(&url.parse().unwrap()).unwrap());
    let request = Request::post("/x").body(Bytes::from_static(b"{}")).unwrap();
    let answer = connection.send(request, true, REQUEST_MAX).await;
    serving.await.unwrap();
    (answer, connection.stream.is_some())
}

async fn body(pieces: &'static [&'static str]) -> (Bytes, bool) {
    let (answer, kept) = answers(pieces).await;
    (answer.unwrap().body, kept)
}

#[tokio::test]
async fn a_body_ends_where_its_head_says() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    let whole = body(&[OK, "Content-", "Length: 5\r\n\r\nab", "cde"]).await;
    assert_eq!(whole, (Bytes::from_static(b"abcde"), true));
    let chunked =
        body(&[OK, "transfer-encoding: chunked\r\n\r\n3\r", "\nabc\r\n2\r\nd", "e\r\n0\r\n", "x: y\r\n\r\n"])
            .await;
    assert_eq!(chunked, (Bytes::from_static(b"abcde"), true));
    let until_end = body(&[OK, "\r\nabc", "de"]).await;
    assert_eq!(until_end, (Bytes::from_static(b"abcde"), false));
    let closing = body(&[OK, "Connection: close\r\nContent-Length: 1\r\n\r\na"]).await;
    assert_eq!(closing, (Bytes::from_static(b"a"), false));
    let listed = body(&[OK, "Connection: x, Close\r\nContent-Length: 1\r\n\r\na"]).await;
    assert_eq!(listed, (Bytes::from_static(b"a"), false));
    // As the standard has it: chunks go before a length, and a length may be repeated.
    let both = body(&[OK, "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n1\r\na\r\n0\r\n\r\n"]);
    assert_eq!(both.await, (Bytes::from_static(b"a"), true));
    let twice = body(&[OK, "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"]).await;
    assert_eq!(twice, (Bytes::from_static(b"a"), true));
    let announced = body(&["HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"]).await;
    assert_eq!(announced, (Bytes::new(), true));
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_none_is_an_error() {
    for (pieces, wrong) in [
        (&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"][..], "ended the connection"),
        (&["HTTP/1.1 200 OK\r\nContent-"], "ended the connection"),
        (&["220 mail\r\n"], "no HTTP"),
        (&["HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"], "no sound length"),
        (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"], "no size"),
        (&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"], "longer than it says"),
    ] {
        let (answer, kept) = answers(pieces).await;
        let error = answer.unwrap_err();
        assert!(error.contains(wrong) && !kept, "{pieces:?}: {error}");
    }
}

/// Read as the next best, the rest of such an answer would be taken for the next one.
#[tokio::test]
async fn an_answer_whose_end_is_in_doubt_is_an_error() {
    const CASES: [(&[&[u8]], &str); 10] = [
        (&[b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"], "two lengths"),
        (&[b"Content-Length: +2\r\n\r\nab"], "no sound length: +2"),
        (&[b"Content-Length: 2, 2\r\n\r\nab"], "no sound length: 2, 2"),
        (&[b"Content-Length:\r\n\r\nab"], "no sound length"),
        (&[b"Content-Length: 2\xff\r\n\r\nab"], "Content-Length is no text"),
        (&[b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"], "other than chunked: gzip, chunked"),
        (&[b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], "chunked: gzip"),
        (&[b"Transfer-Encoding: chunked\xff\r\n\r\n0\r\n\r\n"], "Transfer-Encoding is no text"),
        (&[b"Transfer-Encoding: chunked\r\n\r\n", b"\r\n\r\n"], "no size"),
        (&[b"Transfer-Encoding: chunked\r\n\r\n", b";x=1\r\n\r\n"], "no size"),
    ];
    for (lines, wrong) in &CASES {
        let pieces: Vec<&'static [u8]> = [&[&b"HTTP/1.1 200 OK\r\n"[..]], *lines].concat();
        let (answer, kept) = answers(pieces.leak()).await;
        let error = answer.expect_err(wrong);
        assert!(error.contains(wrong) && !kept, "{wrong}: {error}");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_ended_is_made_again() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let mut connection = Connection::new(Target::new(&url.parse().unwrap()).unwrap());
    for _ in 0..2 {
        let serve = async {
            let (mut socket, _) = server.accept().await.unwrap();
            assert!(socket.read(&mut [0; 4_096]).await.unwrap() > 0);
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        };
        let ask = async {
            let request = Request::get("/").body(Bytes::new()).unwrap();
            let answer = connection.send(request, false, REQUEST_MAX).await.unwrap();
            // Until the end has come, which `serve` sends by letting go.
            connection.stream.as_ref().unwrap().readable().await.unwrap();
            answer.status
        };
        assert_eq!(tokio::join!(serve, ask).1, 200);
    }
}

#[test]
fn an_answer_says_whether_it_was_cached() {
    let said = |values: &[&str]| {
        let lines: String = values.iter().map(|value| format!("Cache-Status: {value}\r\n")).collect();
        parse(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes()).unwrap().unwrap().1.cached
    };
    assert_eq!(said(&[]), None);
    assert_eq!(said(&["orderwire; hit"]), Some(true));
    assert_eq!(said(&["orderwire; hit; detail=stale"]), Some(true));
    assert_eq!(said(&["orderwire; fwd=miss"]), Some(false));
    assert_eq!(said(&["origin; hit, edge; fwd=miss"]), Some(false));
    assert_eq!(said(&["origin; fwd=miss", "edge; hit"]), Some(true));
}

#[test]
fn only_plain_http_is_spoken() {
    let target = |url: &str| Target::new(&url.parse().unwrap());
    assert!(target("https://localhost").unwrap_err().to_string().contains("http://"));
    assert_eq!(target("http://[::1]:81").unwrap().address, "[::1]:81");
    assert_eq!(target("http://localhost").unwrap().address, "localhost:80");
}
