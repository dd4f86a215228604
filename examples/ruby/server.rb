# A small web app: a page that says what runs, with Ruby's standard library alone. PORT says where it listens.
require "socket"

VERSION = "1.0.0"

server = TCPServer.new("0.0.0.0", Integer(ENV.fetch("PORT")))
loop do
  Thread.new(server.accept) do |client|
    while (line = client.gets) && line != "\r\n"; end
    text = "Hello from Ruby, version #{VERSION}, in the place called #{ENV["TEAL_COLOUR"]}\n"
    client.write("HTTP/1.1 200 OK\r\nx-version: #{VERSION}\r\ncontent-length: #{text.bytesize}\r\nconnection: close\r\n\r\n#{text}")
  ensure
    client.close
  end
end
