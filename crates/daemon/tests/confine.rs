//! What a confined process can and can't do, tried for real: each attempt runs in a forked,
//! single-threaded process of its own, so this test has no harness.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use daemon::Confinement;
use daemon::calls;
use daemon::dir::Dir;
use daemon::process::{End, fork_worker, reap};
use daemon::tls::{ClientTls, ServerTls, Stream};
use sender_auth::crypto::{SigningKey, new_ed25519_pem};

/// Runs `attempt` after `confinement`; true when it could do what it wanted.
fn can(confinement: Confinement, attempt: impl FnOnce() -> bool) -> bool {
    let pid = fork_worker(move || match confinement.enter() {
        Ok(_) => u8::from(!attempt()),
        Err(error) => {
            eprintln!("not confined: {error}");
            99
        }
    })
    .expect("fork");
    loop {
        match reap() {
            Some((ended, End::Code(0))) if ended == pid => return true,
            Some((ended, End::Code(1))) if ended == pid => return false,
            Some(other) => panic!("{other:?}"),
            None => std::thread::yield_now(),
        }
    }
}

fn refused<T>(result: std::io::Result<T>) -> bool {
    match result {
        Ok(_) => false,
        Err(e) => {
            assert!(
                matches!(
                    e.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::Unsupported
                ),
                "{e}"
            );
            true
        }
    }
}

const RSA: &[u8] = include_bytes!("../../sender-auth/tests/keys/rsa-2048.pem");

/// Makes a key from random numbers and signs with it, and with an RSA key (which draws random
/// numbers too).
fn makes_keys_and_signs(rsa: &SigningKey) -> bool {
    let made = SigningKey::from_pem(new_ed25519_pem().expect("random numbers").as_bytes());
    [&made.expect("a key"), rsa].into_iter().all(|key| {
        let signature = key.sign(b"text").expect("random numbers");
        key.public().verifies(b"text", &signature)
    })
}

/// Full TLS handshakes over a pair of sockets, the second one resumed, and octets after each.
fn speaks_tls(
    server_tls: &ServerTls,
    client_tls: &ClientTls,
    pairs: [(UnixStream, UnixStream); 2],
) -> bool {
    pairs.into_iter().all(|(a, b)| {
        let (mut server, mut client) = (Stream::clear(a), Stream::clear(b));
        server.start_server(server_tls).expect("server");
        client
            .start_client(client_tls, "mx.example.org")
            .expect("client");
        // Far more turns than a handshake has messages.
        for _ in 0..20 {
            for stream in [&mut server, &mut client] {
                match stream.read(&mut [0; 0]) {
                    Err(e) if e.kind() != ErrorKind::WouldBlock => panic!("{e}"),
                    _ => stream.flush().expect("flush"),
                }
                if stream.is_handshaking() {
                    let error = stream.read(&mut [0; 1]).expect_err("no octet yet");
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                }
            }
        }
        let mut got = [0; 10];
        server.write(b"220").is_ok_and(|n| n == 3)
            && client.read(&mut got).is_ok_and(|n| &got[..n] == b"220")
            && client.write(b"QUIT").is_ok_and(|n| n == 4)
            && server.read(&mut got).is_ok_and(|n| &got[..n] == b"QUIT")
    })
}

/// Certificate and key of `mx.example.org` in this directory.
fn server_tls(dir: &Path) -> ServerTls {
    let made = rcgen::generate_simple_self_signed(vec!["mx.example.org".to_owned()]).expect("made");
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("write");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("write");
    ServerTls::load([(&*cert, &*key)]).expect("loaded")
}

fn main() -> ExitCode {
    let temporary = tempfile::tempdir().expect("temporary directory");
    let (inside, outside) = (temporary.path().join("in"), temporary.path().join("out"));
    for dir in [&inside, &outside] {
        std::fs::create_dir(dir).expect("mkdir");
        std::fs::write(dir.join("f"), "text").expect("write");
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let base = Confinement::new;
    let mut number = 0;
    let mut check = |what: &str, wanted: bool, got: bool| {
        number += 1;
        assert_eq!(got, wanted, "{what}");
        println!("test {what} ... ok");
    };

    // First of all, as this process must not have asked for a random number yet.
    let rsa = SigningKey::from_pem(RSA).expect("an RSA key");
    check(
        "draws its first random numbers when it can open nothing",
        true,
        can(base(), || makes_keys_and_signs(&rsa)),
    );
    let (server, client) = (
        server_tls(temporary.path()),
        ClientTls::opportunistic().expect("client"),
    );
    let pairs = || {
        [(); 2].map(|()| {
            let (a, b) = UnixStream::pair().expect("pair");
            a.set_nonblocking(true).expect("non-blocking");
            b.set_nonblocking(true).expect("non-blocking");
            (a, b)
        })
    };
    check("speaks TLS, makes keys and signs", true, {
        let pairs = pairs();
        can(base(), || {
            speaks_tls(&server, &client, pairs) && makes_keys_and_signs(&rsa)
        })
    });

    check(
        "the bare process opens nothing",
        false,
        can(base(), || File::open("/etc/passwd").is_ok()),
    );
    check("nor through a descriptor it holds", false, {
        let dir = Dir::open(&inside).expect("open");
        can(base(), move || dir.open_read("f").is_ok())
    });
    check("reads where it may", true, {
        let dir = Dir::open(&inside).expect("open");
        can(
            base().calls(calls::READ_FILES).readable(&inside),
            move || dir.open_read("f").is_ok() && dir.names().is_ok_and(|n| n == ["f"]),
        )
    });
    check("does not write where it reads", false, {
        let dir = Dir::open(&inside).expect("open");
        can(
            base()
                .calls(calls::READ_FILES)
                .calls(calls::KEEP_FILES)
                .readable(&inside),
            move || dir.create_new("new", 0o600).is_ok() || dir.unlink("f").is_ok(),
        )
    });
    check("does not read elsewhere", false, {
        let path = outside.join("f");
        can(
            base().calls(calls::READ_FILES).readable(&inside),
            move || File::open(path).is_ok(),
        )
    });
    check(
        "creates and syncs but does not remove with the creator's calls",
        true,
        {
            let dir = Dir::open(&inside).expect("open");
            can(base().calls(calls::CREATE).writable(&inside), move || {
                let file = dir.create_new("made", 0o600).expect("create");
                file.sync_all().is_ok()
                    && dir.sync().is_ok()
                    && refused(dir.unlink("made"))
                    && refused(dir.rename("made", &dir, "other"))
                    && refused(dir.names())
            })
        },
    );
    check(
        "makes no Internet socket",
        true,
        can(base(), move || refused(TcpStream::connect(address))),
    );
    check(
        "makes no Unix socket",
        true,
        can(base(), || refused(UnixStream::connect("/dev/log"))),
    );
    check("connects where it may", true, {
        can(base().calls(calls::CONNECT).network(), move || {
            TcpStream::connect(address).is_ok()
        })
    });
    check("makes only Internet sockets then", true, {
        can(base().calls(calls::CONNECT).network(), || {
            refused(UnixStream::connect("/dev/log")) && UdpSocket::bind("127.0.0.1:0").is_ok()
        })
    });
    check("starts no program", true, {
        can(base().calls(calls::THREADS), || {
            refused(std::process::Command::new("/bin/true").status())
        })
    });
    check(
        "starts no process",
        true,
        can(base().calls(calls::THREADS), || refused(fork_worker(|| 0))),
    );
    check("starts threads where it may", true, {
        can(base().calls(calls::THREADS), || {
            std::thread::Builder::new()
                .spawn(|| 7)
                .is_ok_and(|t| t.join().is_ok_and(|n| n == 7))
        })
    });
    check("starts no thread otherwise", true, {
        can(base(), || refused(std::thread::Builder::new().spawn(|| 7)))
    });
    check("signals nobody", true, {
        let parent = std::process::id();
        can(base(), move || {
            refused(daemon::process::order(
                parent,
                daemon::process::Order::Reload,
            ))
        })
    });
    check(
        "regains nothing",
        true,
        can(base(), || {
            refused(daemon::process::Identity { uid: 0, gid: 0 }.assume())
        }),
    );
    check("a socket pair is a Unix pair", true, {
        can(base().calls(calls::PAIR), || {
            daemon::packet::Packets::pair().is_ok()
        })
    });
    if daemon::process::is_root() {
        let empty = temporary.path().join("empty");
        std::fs::create_dir(&empty).expect("mkdir");
        let nobody = daemon::process::user("nobody").expect("nobody");
        check("as root: TLS and keys in an empty root", true, {
            let pairs = pairs();
            can(base().user("nobody").root(&empty), || {
                speaks_tls(&server, &client, pairs) && makes_keys_and_signs(&rsa)
            })
        });
        check("as root: another user in an empty root", true, {
            can(
                base()
                    .calls(calls::READ_FILES)
                    .whole_filesystem()
                    .user("nobody")
                    .root(&empty),
                move || {
                    daemon::process::Identity::own() == nobody
                        && !Path::new("/etc").exists()
                        && std::fs::read_dir("/").is_ok_and(|d| d.count() == 0)
                },
            )
        });
    }
    println!("test result: ok. {number} passed; 0 failed");
    ExitCode::SUCCESS
}
