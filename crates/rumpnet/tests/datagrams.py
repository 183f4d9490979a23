# What the host's own sockets say; tests/datagrams.rs asks a kernel the same.
import socket, struct, sys

IP_RECVERR, IP_MTU_DISCOVER, IP_PKTINFO, SO_PROTOCOL, SO_DONTROUTE = 11, 10, 8, 38, 5
SOL_RAW, ICMP_FILTER = 255, 1
UDP, RAW, WHOLE, PING = "udp", "raw", "whole", "ping"
open("/proc/sys/net/ipv4/ping_group_range", "w").write("0 2147483647")


def opened(kind):
    made = {
        UDP: (socket.SOCK_DGRAM, 0),
        RAW: (socket.SOCK_RAW, 89),
        WHOLE: (socket.SOCK_RAW, 255),
        PING: (socket.SOCK_DGRAM, 1),
    }[kind]
    made = socket.socket(socket.AF_INET, *made)
    made.settimeout(5)
    return made


def tell(name, call):
    try:
        said = call()
    except OSError as error:
        said = "E%s" % error.errno
    print("%s=%s" % (name, "ok" if said is None else said))


def icmp_filter(made):
    return struct.unpack("I", made.getsockopt(SOL_RAW, ICMP_FILTER, 4))[0]


OPTIONS = {
    "broadcast": (socket.SOL_SOCKET, socket.SO_BROADCAST),
    "ttl": (socket.IPPROTO_IP, socket.IP_TTL),
    "tos": (socket.IPPROTO_IP, socket.IP_TOS),
    "mtu_discover": (socket.IPPROTO_IP, IP_MTU_DISCOVER),
    "recverr": (socket.IPPROTO_IP, IP_RECVERR),
    "reuseaddr": (socket.SOL_SOCKET, socket.SO_REUSEADDR),
    "reuseport": (socket.SOL_SOCKET, socket.SO_REUSEPORT),
    "dontroute": (socket.SOL_SOCKET, SO_DONTROUTE),
}

for kind in UDP, RAW, WHOLE, PING:
    made = opened(kind)
    for name, option in OPTIONS.items():
        tell("%s default %s" % (kind, name), lambda: made.getsockopt(*option))
    tell(kind + " protocol", lambda: made.getsockopt(socket.SOL_SOCKET, SO_PROTOCOL))
    if kind in (RAW, WHOLE):
        tell(kind + " default hdrincl", lambda: made.getsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL))
    for name, values in {
        "broadcast": [1], "ttl": [0, 1, 255], "tos": [0, 16, 255], "mtu_discover": [0, 1, 2], "recverr": [1, 0],
        "reuseaddr": [1], "reuseport": [1], "dontroute": [1, 0],
    }.items():
        for value in values:
            tell("%s set %s %d" % (kind, name, value), lambda: made.setsockopt(*OPTIONS[name], value))
            tell("%s then %s" % (kind, name), lambda: made.getsockopt(*OPTIONS[name]))
    tell(kind + " hdrincl", lambda: made.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1))
    tell(kind + " icmp_filter", lambda: made.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", 1)))
    tell(kind + " device none", lambda: made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"absent0"))
    tell(kind + " device", lambda: made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"virt0"))
    tell(kind + " device off", lambda: made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b""))

ECHO = b"\x08\0\0\0\0\0\0\1data"
HEADER = b"\x45" + bytes(8) + b"\x59\0\0" + bytes(4) + bytes([127, 0, 0, 1])
GOOD = {UDP: b"data", RAW: b"data", WHOLE: HEADER + b"data", PING: ECHO}
for kind in UDP, RAW, WHOLE, PING:
    good = GOOD[kind]
    tell(kind + " send to nobody", lambda: opened(kind).send(good))
    tell(kind + " send to all", lambda: opened(kind).sendto(good, ("10.0.0.255", 9)))
    tell(kind + " connect to all", lambda: opened(kind).connect(("10.0.0.255", 9)))
    tell(kind + " bind foreign", lambda: opened(kind).bind(("10.0.0.77", 0)))
    tell(kind + " bind broadcast", lambda: opened(kind).bind(("10.0.0.255", 0)))
    tell(kind + " bind group", lambda: opened(kind).bind(("224.0.0.9", 0)))
    made = opened(kind)
    tell(kind + " bind", lambda: made.bind(("10.0.0.1", 4000)))
    tell(kind + " bind again", lambda: made.bind(("10.0.0.1", 4001)))
    tell(kind + " bind taken", lambda: opened(kind).bind(("10.0.0.1", 4000)))
    made.close()
    tell(kind + " send too long", lambda: opened(kind).sendto(good + bytes(65536 - len(good)), ("127.0.0.1", 9)))
    tell(kind + " peer of nobody", lambda: opened(kind).getpeername())
    tell(kind + " shutdown alone", lambda: opened(kind).shutdown(socket.SHUT_RDWR))
    made = opened(kind)
    made.connect(("127.0.0.1", 4009))
    tell(kind + " shutdown", lambda: made.shutdown(socket.SHUT_RDWR))
    # One that would not wait says EAGAIN there, which is no answer.
    made.settimeout(None)
    tell(kind + " recv at the end", lambda: len(made.recv(9)))
    tell(kind + " send at the end", lambda: made.send(good))

    def info(level, option, bytes):
        opened(kind).sendmsg([good], [(level, option, bytes)], 0, ("127.0.0.1", 9))

    pktinfo = lambda index, source: struct.pack("=I4s4s", index, socket.inet_aton(source), bytes(4))
    tell(kind + " pktinfo foreign", lambda: info(0, IP_PKTINFO, pktinfo(0, "10.0.0.77")))
    tell(kind + " pktinfo no interface", lambda: info(0, IP_PKTINFO, pktinfo(999, "0.0.0.0")))
    tell(kind + " pktinfo", lambda: info(0, IP_PKTINFO, pktinfo(0, "127.0.0.1")))
    tell(kind + " ttl 0", lambda: info(0, socket.IP_TTL, struct.pack("i", 0)))
    tell(kind + " ttl 9", lambda: info(0, socket.IP_TTL, struct.pack("i", 9)))

tell("raw of no protocol", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 0) and None)
tell("raw filter of icmp", lambda: icmp_filter(socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)))
tell("whole short", lambda: opened(WHOLE).sendto(HEADER[:19], ("127.0.0.1", 0)))
tell("whole long header", lambda: opened(WHOLE).sendto(b"\x4f" + HEADER[1:], ("127.0.0.1", 0)))
tell("whole beyond mtu", lambda: opened(WHOLE).sendto(HEADER + bytes(1500), ("10.0.0.9", 0)))
tell("ping reply", lambda: opened(PING).sendto(b"\0" + ECHO[1:], ("127.0.0.1", 0)))
tell("ping code", lambda: opened(PING).sendto(b"\x08\x01" + ECHO[2:], ("127.0.0.1", 0)))
tell("ping short", lambda: opened(PING).sendto(ECHO[:7], ("127.0.0.1", 0)))

# What an exchange comes to.
made = opened(PING)
made.bind(("127.0.0.1", 77))
made.sendto(ECHO, ("127.0.0.1", 0))
got, who = made.recvfrom(99)
print("ping answer=%s %s %d" % (got[:1].hex() + got[4:].hex(), who[0], who[1]))
listener = socket.socket(socket.AF_INET, socket.SOCK_RAW, 89)
opened(RAW).sendto(b"hello", ("127.0.0.1", 0))
got, who = listener.recvfrom(99)
print("raw answer=%s %s %d" % ((got[:4] + got[8:10] + got[12:]).hex(), who[0], len(got)))

client = opened(UDP)
client.bind(("127.0.0.1", 4010))
client.connect(("127.0.0.1", 4011))
tell("refused send", lambda: client.send(b"?"))
tell("refused recv", lambda: client.recv(9))
tell("refused then", lambda: client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
client.send(b"?")
tell("refused send again", lambda: client.send(b"?"))
tell("send aside", lambda: client.sendto(b"aside", ("127.0.0.1", 4010)))

client = opened(UDP)
client.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
client.sendto(b"question", ("127.0.0.1", 4011))
tell("kept recv", lambda: client.recv(9))
got, told, flags, who = client.recvmsg(99, 200, socket.MSG_ERRQUEUE)
errno, origin, kind, code, info, offender = told[0][2][:4], told[0][2][4], told[0][2][5], told[0][2][6], told[0][2][8:12], told[0][2][20:24]
print("kept=%s %d %d %d %d %d %s %d" % (got.decode(), *struct.unpack("i", errno), origin, kind, code, *struct.unpack("I", info), socket.inet_ntoa(offender), who[1]))
client.setblocking(False)
tell("kept no more", lambda: client.recvmsg(99, 200, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT))
client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 2)
tell("kept too long", lambda: client.sendto(bytes(2000), ("10.0.0.9", 9)))
got, told, flags, who = client.recvmsg(99, 200, socket.MSG_ERRQUEUE)
print("kept local=%d %d %d" % (*struct.unpack("i", told[0][2][:4]), told[0][2][4], *struct.unpack("I", told[0][2][8:12])))

server = opened(UDP)
server.bind(("0.0.0.0", 4020))
server.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
client = opened(UDP)
client.bind(("127.0.0.1", 4021))
client.sendto(b"longer than nine", ("127.0.0.1", 4020))
client.sendto(b"", ("127.0.0.1", 4020))
got, told, flags, who = server.recvmsg(9, 99, socket.MSG_PEEK | socket.MSG_TRUNC)
print("peeked=%s" % (len(got) if flags & socket.MSG_TRUNC == 0 else "cut"))
got, told, flags, who = server.recvmsg(9, 99)
print("cut=%s %s %s" % (got.decode(), flags & socket.MSG_TRUNC != 0, socket.inet_ntoa(told[0][2][8:12])))
got, who = server.recvfrom(9)
print("empty=%d %d" % (len(got), who[1]))

for name, local in ("disconnected bound", ("10.0.0.1", 4030)), ("disconnected port", ("0.0.0.0", 4031)):
    made = opened(UDP)
    made.bind(local)
    made.connect(("127.0.0.1" if local[0] == "0.0.0.0" else "10.0.0.1", 4011))
    # connect(2) to AF_UNSPEC, which Python has no name for.
    import ctypes
    ctypes.CDLL(None).connect(made.fileno(), bytes(16), 16)
    print("%s=%s:%d" % (name, *made.getsockname()))
