/* Holds a thread in the middle of a call, for the tests: preloaded, it does not let a connection of one of the service's
 * runtime threads go on.
 *
 *   WEDGE_PORT  connections to this port of IPv4 are meant
 *   WEDGE_FILE  the next of them, once this file is there, is held until FILE.free is there; each takes a file of its own
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const useconds_t look_every_us = 20000;

static int is_meant(const struct sockaddr *address) {
    const char *port = getenv("WEDGE_PORT");
    char thread[16] = {0};
    if (!port || !address || address->sa_family != AF_INET) return 0;
    if (ntohs(((const struct sockaddr_in *)address)->sin_port) != atoi(port)) return 0;
    prctl(PR_GET_NAME, thread);
    return !strcmp(thread, "app");
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real) real = dlsym(RTLD_NEXT, "connect");
    const char *file = getenv("WEDGE_FILE");
    /* Whoever takes the file away is held. */
    if (file && is_meant(address) && unlink(file) == 0) {
        char free[4096];
        snprintf(free, sizeof free, "%s.free", file);
        while (access(free, F_OK) != 0) usleep(look_every_us);
    }
    return real(socket, address, length);
}
