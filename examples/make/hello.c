/* A small web app: a page that says what runs. PORT says where it listens. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define VERSION "1.0.0"

int main(void) {
    int one = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT")))};
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 64)) {
        perror("cannot listen");
        return 1;
    }
    for (;;) {
        char request[4096], answer[256];
        const char *text = "Hello from C, version " VERSION "\n";
        int client = accept(server, NULL, NULL);
        if (client < 0 || read(client, request, sizeof request) <= 0) {
            close(client);
            continue;
        }
        int size = snprintf(answer, sizeof answer,
            "HTTP/1.1 200 OK\r\nx-version: " VERSION "\r\ncontent-length: %zu\r\nconnection: close\r\n\r\n%s", strlen(text), text);
        if (write(client, answer, size) < 0) perror("cannot answer");
        close(client);
    }
}
