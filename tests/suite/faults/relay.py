"""One end of a bad link: what a host sends into its TUN device goes to the other end late, out of order, or not at all.

relay.py DEVICE ADDRESS OWN-SOCKET OTHER-SOCKET STALL-FILE LOSS-PERCENT REORDER-PERCENT

While STALL-FILE exists nothing passes. The kernel checksums and cuts what it writes into a TUN device, so that
what comes out is packets as they would be on a wire.
"""
import fcntl, heapq, os, random, select, socket, struct, subprocess, sys, time

device, address, own, other, stall, loss, reorder = sys.argv[1:]
loss, reorder = float(loss) / 100, float(reorder) / 100

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
LATE = (0.002, 0.02)  # seconds that a packet which is overtaken takes longer
QUEUE = 1000  # packets under way at most, as in a router

tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
subprocess.run(["ip", "address", "add", address + "/24", "dev", device], check=True)
subprocess.run(["ip", "link", "set", device, "up"], check=True)

link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
link.bind(own)
link.setblocking(False)
under_way, count = [], 0
while True:
    wait = max(0, under_way[0][0] - time.monotonic()) if under_way else 1
    ready, _, _ = select.select([tun, link], [], [], wait)
    now = time.monotonic()
    if tun in ready:
        packet = os.read(tun, 65536)
        passes = not os.path.exists(stall) and random.random() >= loss and len(under_way) < QUEUE
        if passes:
            late = random.uniform(*LATE) if random.random() < reorder else 0
            count += 1
            heapq.heappush(under_way, (now + late, count, packet))
    if link in ready:
        try:
            os.write(tun, link.recv(65536))
        except OSError:
            pass  # no packet for this host
    while under_way and under_way[0][0] <= now:
        try:
            link.sendto(heapq.heappop(under_way)[2], other)
        except OSError:
            pass  # the other end is not there yet, or its queue is full: lost
