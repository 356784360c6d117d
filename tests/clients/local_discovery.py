"""Datagrams of local discovery (BEP 14): `local_discovery.py listen ADDRESS` prints each that comes to the interface with that address, and who
sent it; `local_discovery.py send ADDRESS` sends each line of its standard input from there, `\\r` and `\\n` being what they stand for.
"""
import socket
import struct
import sys

GROUP, PORT = "239.192.152.143", 6771
verb, address = sys.argv[1:]
group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
group.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
group.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
if verb == "listen":
    group.bind((GROUP, PORT))
    group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(address))
    print("ready", flush=True)
    while True:
        datagram, sender = group.recvfrom(2000)
        print(sender[0], repr(datagram), flush=True)
group.bind((address, 0))
for line in sys.stdin:
    group.sendto(line.rstrip("\n").encode().decode("unicode_escape").encode("latin-1"), (GROUP, PORT))
