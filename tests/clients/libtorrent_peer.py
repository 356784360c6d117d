"""A libtorrent peer: `libtorrent_peer.py seed|fetch|fetch-and-end TORRENT DIR PORT [tcp-only] [ipv6]`.

As its users have it, but for what would need the internet or a router; with `tcp-only`, no uTP, and peers from the tracker only; with
`ipv6`, on IPv6 alone. `seed` checks what lies in DIR before it serves it. `fetch-and-end` ends with 0 as
soon as every piece is there; the others serve until they are killed.
"""
import sys

import libtorrent

verb, torrent, folder, port, *rest = sys.argv[1:]
notices = libtorrent.alert.category_t
tcp_only = {"enable_outgoing_utp": False, "enable_incoming_utp": False, "enable_lsd": False}
session = libtorrent.session({
    "listen_interfaces": f"[::]:{port}" if "ipv6" in rest else f"0.0.0.0:{port}",
    "enable_dht": False, "enable_upnp": False, "enable_natpmp": False,
    **(tcp_only if "tcp-only" in rest else {}),
    # Few: each alert costs it time.
    "alert_mask": notices.error_notification | notices.status_notification | notices.connect_notification,
})
parameters = libtorrent.add_torrent_params()
parameters.ti = libtorrent.torrent_info(torrent)
parameters.save_path = folder
handle = session.add_torrent(parameters)
while True:
    session.wait_for_alert(500)
    for alert in session.pop_alerts():
        if isinstance(alert, (libtorrent.tracker_error_alert, libtorrent.torrent_error_alert, libtorrent.file_error_alert,
                              libtorrent.peer_disconnected_alert, libtorrent.torrent_finished_alert)):
            print(alert, flush=True)
        if verb == "fetch-and-end" and isinstance(alert, libtorrent.torrent_finished_alert):
            sys.exit(0)
