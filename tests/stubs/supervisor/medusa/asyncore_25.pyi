socket_map: dict[int, object]
