package socketapi

// libcSource asks the C library what the tests want to know of it: a question a line, its words between tabs, "\N" for a null
// pointer. An answer is a line too, in the words that the tests have for their own.
const libcSource = `
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char *eai(int e) {
	switch (e) {
	case EAI_BADFLAGS: return "EAI_BADFLAGS";
	case EAI_NONAME: return "EAI_NONAME";
	case EAI_AGAIN: return "EAI_AGAIN";
	case EAI_FAIL: return "EAI_FAIL";
	case EAI_FAMILY: return "EAI_FAMILY";
	case EAI_SOCKTYPE: return "EAI_SOCKTYPE";
	case EAI_SERVICE: return "EAI_SERVICE";
	case EAI_NODATA: return "EAI_NODATA";
	case EAI_ADDRFAMILY: return "EAI_ADDRFAMILY";
	}
	return gai_strerror(e);
}

static const char *herr(int e) {
	switch (e) {
	case HOST_NOT_FOUND: return "HOST_NOT_FOUND";
	case TRY_AGAIN: return "TRY_AGAIN";
	case NO_RECOVERY: return "NO_RECOVERY";
	case NO_DATA: return "NO_DATA";
	}
	return "another";
}

static void addrinfo(char **w) {
	struct addrinfo hints = {.ai_family = atoi(w[3]), .ai_socktype = atoi(w[4]), .ai_protocol = atoi(w[5]), .ai_flags = atoi(w[6])}, *list, *a;
	int e = getaddrinfo(w[1], w[2], &hints, &list);
	if (e) {
		printf("%s", eai(e));
		return;
	}
	printf("[");
	for (a = list; a; a = a->ai_next) {
		char text[INET6_ADDRSTRLEN];
		if (a != list)
			printf(" ");
		if (a->ai_family == AF_INET) {
			struct sockaddr_in *in = (void *)a->ai_addr;
			printf("%s:%d", inet_ntop(AF_INET, &in->sin_addr, text, sizeof text), ntohs(in->sin_port));
		} else {
			struct sockaddr_in6 *in = (void *)a->ai_addr;
			printf("[%s]:%d", inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text), ntohs(in->sin6_port));
			if (in->sin6_scope_id)
				printf(" scope %u", in->sin6_scope_id);
		}
		printf(" %d/%d", a->ai_socktype, a->ai_protocol);
		if (a->ai_canonname)
			printf(" %s", a->ai_canonname);
	}
	printf("]");
	freeaddrinfo(list);
}

static void nameinfo(char **w) {
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(atoi(w[3]))};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = in.sin_port, .sin6_scope_id = atoi(w[2])};
	char host[NI_MAXHOST], service[NI_MAXSERV];
	int four = inet_pton(AF_INET, w[1], &in.sin_addr), e;
	if (!four && !inet_pton(AF_INET6, w[1], &in6.sin6_addr))
		exit(2);
	e = getnameinfo(four ? (void *)&in : (void *)&in6, four ? sizeof in : sizeof in6, host, sizeof host, service, sizeof service, atoi(w[4]));
	if (e)
		printf("%s", eai(e));
	else
		printf("%s %s", host, service);
}

static void words(char **list) {
	printf("[");
	for (char **s = list; *s; s++)
		printf("%s%s", s == list ? "" : " ", *s);
	printf("]");
}

static void host(struct hostent *h) {
	char text[INET6_ADDRSTRLEN];
	if (!h) {
		printf("%s", herr(h_errno));
		return;
	}
	printf("%s ", h->h_name);
	words(h->h_aliases);
	printf(" %d [", h->h_addrtype);
	for (char **a = h->h_addr_list; *a; a++)
		printf("%s%s", a == h->h_addr_list ? "" : " ", inet_ntop(h->h_addrtype, *a, text, sizeof text));
	printf("]");
}

static void service(struct servent *s) {
	if (!s) {
		printf("none");
		return;
	}
	printf("%s %d %s ", s->s_name, ntohs(s->s_port), s->s_proto);
	words(s->s_aliases);
}

static void protocol(struct protoent *p) {
	if (!p) {
		printf("none");
		return;
	}
	printf("%s %d ", p->p_name, p->p_proto);
	words(p->p_aliases);
}

static void interfaces(void) {
	struct ifaddrs *list, *a;
	char text[INET6_ADDRSTRLEN], name[IF_NAMESIZE];
	if (getifaddrs(&list))
		exit(3);
	for (a = list; a; a = a->ifa_next) {
		unsigned index = if_nametoindex(a->ifa_name);
		if (!a->ifa_addr || !a->ifa_netmask || (a->ifa_addr->sa_family != AF_INET && a->ifa_addr->sa_family != AF_INET6))
			continue;
		printf("%s %u %s ", a->ifa_name, index, if_indextoname(index, name));
		if (a->ifa_addr->sa_family == AF_INET) {
			printf("%s ", inet_ntop(AF_INET, &((struct sockaddr_in *)a->ifa_addr)->sin_addr, text, sizeof text));
			printf("%s", inet_ntop(AF_INET, &((struct sockaddr_in *)a->ifa_netmask)->sin_addr, text, sizeof text));
			// Without one its place is taken by the address itself.
			if (a->ifa_flags & IFF_BROADCAST && memcmp(a->ifa_broadaddr, a->ifa_addr, sizeof(struct sockaddr_in)))
				printf(" %s", inet_ntop(AF_INET, &((struct sockaddr_in *)a->ifa_broadaddr)->sin_addr, text, sizeof text));
		} else {
			struct sockaddr_in6 *in = (void *)a->ifa_addr;
			printf("%s ", inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text));
			printf("%s", inet_ntop(AF_INET6, &((struct sockaddr_in6 *)a->ifa_netmask)->sin6_addr, text, sizeof text));
			if (in->sin6_scope_id)
				printf(" scope %u", in->sin6_scope_id);
		}
		printf(";");
	}
	freeifaddrs(list);
	if (if_nametoindex("none"))
		exit(4);
	printf("%d ", errno);
	if (if_indextoname(77777, name))
		exit(5);
	printf("%d", errno);
}

static void pton(char **w) {
	unsigned char b[16];
	int family = atoi(w[2]), n = family == AF_INET ? 4 : 16;
	if (inet_pton(family, w[1], b) != 1) {
		printf("none");
		return;
	}
	for (int i = 0; i < n; i++)
		printf("%02x", b[i]);
	char text[INET6_ADDRSTRLEN];
	printf(" %s", inet_ntop(family, b, text, sizeof text));
}

static void ask(char **w) {
	struct in_addr in;
	if (!strcmp(w[0], "addrinfo"))
		addrinfo(w);
	else if (!strcmp(w[0], "nameinfo"))
		nameinfo(w);
	else if (!strcmp(w[0], "hostbyname"))
		host(gethostbyname(w[1]));
	else if (!strcmp(w[0], "hostbyaddr")) {
		unsigned char b[16];
		if (inet_pton(AF_INET, w[1], b))
			host(gethostbyaddr(b, 4, AF_INET));
		else if (inet_pton(AF_INET6, w[1], b))
			host(gethostbyaddr(b, 16, AF_INET6));
	} else if (!strcmp(w[0], "servbyname"))
		service(getservbyname(w[1], w[2]));
	else if (!strcmp(w[0], "servbyport"))
		service(getservbyport(htons(atoi(w[1])), w[2]));
	else if (!strcmp(w[0], "servent")) // the next of all
		service(getservent());
	else if (!strcmp(w[0], "protobyname"))
		protocol(getprotobyname(w[1]));
	else if (!strcmp(w[0], "protobynumber"))
		protocol(getprotobynumber(atoi(w[1])));
	else if (!strcmp(w[0], "interfaces"))
		interfaces();
	else if (!strcmp(w[0], "aton"))
		printf("%s", inet_aton(w[1], &in) ? inet_ntoa(in) : "none");
	else if (!strcmp(w[0], "pton"))
		pton(w);
	else
		exit(1);
	printf("\n");
}

int main(void) {
	char *line = NULL;
	size_t room = 0;
	while (getline(&line, &room, stdin) > 0) {
		char *w[8] = {0}, *rest = line;
		line[strcspn(line, "\n")] = 0;
		for (int i = 0; i < 8 && rest; i++) {
			w[i] = strsep(&rest, "\t");
			if (!strcmp(w[i], "\\N"))
				w[i] = NULL;
		}
		ask(w);
	}
	return 0;
}
`
