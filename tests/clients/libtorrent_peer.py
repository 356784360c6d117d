"""A libtorrent peer for the tests: `libtorrent_peer.py seed|fetch TORRENT DIR PORT`, until it is killed.

TCP only, peers from the tracker only. `seed` checks what lies in DIR before it serves it.
"""
import sys
import time

import libtorrent

_verb, torrent, folder, port = sys.argv[1:]
session = libtorrent.session({
    "listen_interfaces": f"0.0.0.0:{port}",
    "enable_outgoing_utp": False, "enable_incoming_utp": False,
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "alert_mask": libtorrent.alert.category_t.all_categories,
})
parameters = libtorrent.add_torrent_params()
parameters.ti = libtorrent.torrent_info(torrent)
parameters.save_path = folder
handle = session.add_torrent(parameters)
while True:
    time.sleep(0.5)
    for alert in session.pop_alerts():
        if isinstance(alert, (libtorrent.tracker_error_alert, libtorrent.torrent_error_alert, libtorrent.file_error_alert,
                              libtorrent.peer_disconnected_alert, libtorrent.torrent_finished_alert)):
            print(alert, flush=True)
