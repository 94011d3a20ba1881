//! Ways to the network and to sockets.

use std::ffi::c_long;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};

use crate::Attempt;
use crate::call::{at, call};

/// Sends and connects in one.
const FAST_OPEN: c_long = libc::MSG_FASTOPEN as c_long;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    ("connect to another session's port", |outside| {
        TcpStream::connect(("127.0.0.1", outside.port)).map(drop)
    }),
    ("connect from its own port", |outside| {
        // A port that listens becomes a socket again by shutting it down, and sending with this
        // flag connects it. It is of the network of whoever made it.
        call(libc::SYS_shutdown, [0, libc::SHUT_RDWR.into()])?;
        let address = address(outside.port);
        call(libc::SYS_sendto, [0, at("x"), 1, FAST_OPEN, at(&address), 16])
    }),
    ("connect from its own port by a message", |outside| {
        let address = address(outside.port);
        let part = [at("x"), 1];
        // A `msghdr`: the address and its length, the parts and their number, no more.
        let message = [at(&address), 16, at(&part), 1, 0, 0, 0];
        call(libc::SYS_sendmsg, [0, at(&message), FAST_OPEN])
    }),
    ("listen by tcp", |_| TcpListener::bind("0.0.0.0:0").map(drop)),
    ("send by udp", |outside| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.send_to(b"x", ("127.0.0.1", outside.port)).map(drop)
    }),
    ("open a netlink socket", |_| socket(libc::AF_NETLINK, 3)),
    ("open a raw packet socket", |_| socket(libc::AF_PACKET, 3)),
    ("open a raw internet socket", |_| {
        call(libc::SYS_socket, [libc::AF_INET.into(), 3, libc::IPPROTO_ICMP.into()])
    }),
    ("open a vsock socket", |_| socket(libc::AF_VSOCK, 1)),
    ("open a socket of the kernel's ciphers", |_| socket(libc::AF_ALG, 5)),
    ("connect to an abstract socket", |outside| {
        let name = SocketAddr::from_abstract_name(&outside.abstract_name)?;
        UnixStream::connect_addr(&name).map(drop)
    }),
    ("connect to the supervisor's socket", |outside| {
        UnixStream::connect(outside.folder.join("socket")).map(drop)
    }),
    ("send to the supervisor's socket", |outside| {
        UnixDatagram::unbound()?.send_to(b"x", outside.folder.join("datagrams")).map(drop)
    }),
    ("make a socket with a name", |outside| {
        UnixDatagram::bind(outside.folder.join("bound")).map(drop)
    }),
    ("make a socket pair", |_| UnixStream::pair().map(drop)),
    ("send urgent data", |_| {
        // To a socket that is not connected, which would be noticed only later.
        or_unconnected(call(libc::SYS_sendto, [0, at("x"), 1, libc::MSG_OOB.into(), 0, 0]))
    }),
    ("run a program on its packets", |_| {
        let program = libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0xffff };
        let program = libc::sock_fprog { len: 1, filter: (&raw const program).cast_mut() };
        let (level, option) = (libc::SOL_SOCKET.into(), libc::SO_ATTACH_FILTER.into());
        call(libc::SYS_setsockopt, [0, level, option, at(&program), 16])
    }),
    ("share its port with others", |_| {
        let (level, option) = (libc::SOL_SOCKET.into(), libc::SO_REUSEPORT.into());
        call(libc::SYS_setsockopt, [0, level, option, at(&1_i32), 4])
    }),
    ("make its port send signals", |outside| {
        call(libc::SYS_fcntl, [0, libc::F_SETOWN.into(), outside.victim.into()])?;
        call(libc::SYS_fcntl, [0, libc::F_SETFL.into(), libc::O_ASYNC.into()])
    }),
    ("open the port's network", |_| {
        // SIOCGSKNS: a descriptor of the namespace that the socket is of.
        call(libc::SYS_ioctl, [0, 0x894c, 0])
    }),
];

fn address(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: 2,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_be_bytes([127, 0, 0, 1]).to_be() },
        sin_zero: [0; 8],
    }
}

fn socket(family: i32, kind: c_long) -> io::Result<()> {
    call(libc::SYS_socket, [family.into(), kind, 0])
}

/// That it got as far as the socket's state is success.
fn or_unconnected(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if [Some(libc::EPIPE), Some(libc::ENOTCONN)].contains(&error.raw_os_error()) => {
            Ok(())
        }
        other => other,
    }
}
