//! A server that knows the requests about topics and nothing else: the client library's
//! own servers know neither the one that makes a topic nor the one that shows its settings.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A request for a topic.
#[derive(Clone, Debug)]
pub(super) struct Created {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) replicas: i16,
    pub(super) settings: BTreeMap<String, String>,
}

/// What is there, and what was asked for.
struct State {
    address: SocketAddr,
    servers: i32,
    /// Whether topics can be asked for.
    creates: bool,
    topics: BTreeMap<String, (i32, i32, String)>,
    created: Vec<Created>,
}

#[derive(Clone)]
pub(super) struct Server(Arc<Mutex<State>>);

/// The requests that it knows, each in one version.
const METADATA: i16 = 3;
const VERSIONS: i16 = 18;
const CREATE: i16 = 19;
const DESCRIBE: i16 = 32;
const METADATA_VERSION: i16 = 4;
/// From here on a topic may be left to the cluster's own replication.
const CREATE_VERSION: i16 = 4;
const VERSIONS_VERSION: i16 = 3;
const UNKNOWN_TOPIC: i16 = 3;
const INVALID_REPLICATION: i16 = 38;

impl Server {
    /// One that stands for a cluster of so many.
    pub(super) fn start(servers: i32, creates: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (topics, created) = (BTreeMap::new(), Vec::new());
        let server = Self(Arc::new(Mutex::new(State { address, servers, creates, topics, created })));
        let accepting = server.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let server = accepting.clone();
                // It ends with its client.
                std::thread::spawn(move || server.serve(socket.unwrap()).ok());
            }
        });
        server
    }

    pub(super) fn address(&self) -> String {
        self.state().address.to_string()
    }

    pub(super) fn created(&self) -> Vec<Created> {
        self.state().created.clone()
    }

    pub(super) fn add(&self, name: &str, partitions: i32, replicas: i32, cleanup: &str) {
        self.state().topics.insert(name.to_owned(), (partitions, replicas, cleanup.to_owned()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut socket: TcpStream) -> io::Result<()> {
        loop {
            let mut size = [0; 4];
            socket.read_exact(&mut size)?;
            let mut request = vec![0; u32::from_be_bytes(size) as usize];
            socket.read_exact(&mut request)?;
            let mut request = Reader(&request);
            let (key, version, number) = (request.i16(), request.i16(), request.i32());
            request.text();
            let mut answer = Writer(Vec::new());
            answer.i32(number);
            self.state().answer(key, version, &mut request, &mut answer);
            socket.write_all(&(answer.0.len() as u32).to_be_bytes())?;
            socket.write_all(&answer.0)?;
        }
    }
}

impl State {
    fn answer(&mut self, key: i16, version: i16, request: &mut Reader<'_>, answer: &mut Writer) {
        match key {
            VERSIONS => {
                assert_eq!(version, VERSIONS_VERSION);
                answer.i16(0);
                let known = [
                    (VERSIONS, VERSIONS_VERSION),
                    (METADATA, METADATA_VERSION),
                    (CREATE, CREATE_VERSION),
                    (DESCRIBE, 0),
                ];
                let known = &known[..if self.creates { 4 } else { 2 }];
                // A short list, whose length counts itself; no tags anywhere.
                answer.0.push(known.len() as u8 + 1);
                for (key, version) in known {
                    [*key, *version, *version].into_iter().for_each(|number| answer.i16(number));
                    answer.0.push(0);
                }
                answer.i32(0);
                answer.0.push(0);
            }
            METADATA => self.show(request, answer),
            CREATE => self.create(request, answer),
            DESCRIBE => self.describe(request, answer),
            other => panic!("a request that nobody has to make here: {other}"),
        }
    }

    fn show(&mut self, request: &mut Reader<'_>, answer: &mut Writer) {
        let asked: Vec<String> = (0..request.i32()).map(|_| request.text()).collect();
        assert_eq!(request.0[0], 0, "nothing is made by being looked for");
        answer.i32(0);
        answer.i32(self.servers);
        for server in 1..=self.servers {
            answer.i32(server);
            answer.text(&self.address.ip().to_string());
            answer.i32(i32::from(self.address.port()));
            answer.i16(-1);
        }
        answer.i16(-1);
        answer.i32(1);
        answer.i32(asked.len() as i32);
        for name in asked {
            let there = self.topics.get(&name);
            answer.i16(if there.is_some() { 0 } else { UNKNOWN_TOPIC });
            answer.text(&name);
            answer.0.push(0);
            let (partitions, replicas, _) = there.cloned().unwrap_or_default();
            answer.i32(partitions);
            for partition in 0..partitions {
                answer.i16(0);
                answer.i32(partition);
                answer.i32(1);
                for _ in 0..2 {
                    answer.i32(replicas);
                    (1..=replicas).for_each(|server| answer.i32(server));
                }
            }
        }
    }

    fn create(&mut self, request: &mut Reader<'_>, answer: &mut Writer) {
        let count = request.i32();
        answer.i32(0);
        answer.i32(count);
        for _ in 0..count {
            let (name, partitions, replicas) = (request.text(), request.i32(), request.i16());
            assert_eq!(request.i32(), 0, "no partition is put anywhere by hand");
            let settings: BTreeMap<String, String> =
                (0..request.i32()).map(|_| (request.text(), request.text())).collect();
            answer.text(&name);
            if i32::from(replicas) > self.servers {
                answer.i16(INVALID_REPLICATION);
                answer.i16(-1);
                continue;
            }
            answer.i16(0);
            answer.i16(-1);
            let copies = if replicas < 0 { 1 } else { i32::from(replicas) };
            let cleanup = settings.get("cleanup.policy").cloned().unwrap_or_default();
            self.topics.insert(name.clone(), (partitions, copies, cleanup));
            self.created.push(Created { name, partitions, replicas, settings });
        }
    }

    fn describe(&mut self, request: &mut Reader<'_>, answer: &mut Writer) {
        assert_eq!(request.i32(), 1, "one topic");
        let kind = request.0[0];
        request.0 = &request.0[1..];
        let name = request.text();
        answer.i32(0);
        answer.i32(1);
        answer.i16(0);
        answer.i16(-1);
        answer.0.push(kind);
        answer.text(&name);
        answer.i32(1);
        answer.text("cleanup.policy");
        answer.text(&self.topics[&name].2);
        answer.0.extend([0, 0, 0]);
    }
}

/// What is left of a request.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (first, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        *first
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.bytes())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.bytes())
    }

    /// Empty where there is none.
    fn text(&mut self) -> String {
        let length = usize::try_from(self.i16()).unwrap_or_default();
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn i16(&mut self, number: i16) {
        self.0.extend(number.to_be_bytes());
    }

    fn i32(&mut self, number: i32) {
        self.0.extend(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.i16(text.len() as i16);
        self.0.extend(text.as_bytes());
    }
}
