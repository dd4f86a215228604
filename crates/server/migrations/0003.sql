-- A public TCP port is one app's: the store itself says so. Apps without one have NULL, which is never the same.
CREATE UNIQUE INDEX app_tcp_ports ON apps (json_extract(body, '$.settings.tcp_port'));
