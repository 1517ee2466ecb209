package socketapi

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Read first: services(5), protocols(5), getservbyname(3), getprotobyname(3).

// A Servent is an entry of /etc/services.
type Servent struct {
	Name    string
	Aliases []string
	Port    int // in the order of this machine
	Proto   string
}

// A Protoent is an entry of /etc/protocols.
type Protoent struct {
	Name    string
	Aliases []string
	Proto   int
}

// entry is a line of either file: a name, a number with perhaps a protocol, and other names.
type entry struct {
	name, proto string
	number      int
	aliases     []string
}

// parseEntries reads a file of lines "name number[/protocol] aliases". A line that is none is passed over.
func parseEntries(text string) (list []entry) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		number, proto, _ := strings.Cut(words[1], "/")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			continue
		}
		list = append(list, entry{name: words[0], proto: proto, number: int(n), aliases: words[2:]})
	}
	return list
}

// entriesMax is how much of a file is read: the largest that are shipped have half a megabyte.
const entriesMax = 4 << 20

// readEntries reads a file once; one that is missing or says nothing is what is built in.
func readEntries(name, builtin string) func() []entry {
	return sync.OnceValue(func() []entry {
		if f, err := os.Open(name); err == nil {
			defer f.Close()
			var text strings.Builder
			lines := bufio.NewScanner(f)
			for lines.Scan() && text.Len() < entriesMax {
				text.WriteString(lines.Text())
				text.WriteByte('\n')
			}
			if list := parseEntries(text.String()); len(list) > 0 {
				return list
			}
		}
		return parseEntries(builtin)
	})
}

// The most usual ones, for machines without the files.
var (
	services = readEntries("/etc/services", `
echo 7/tcp
echo 7/udp
discard 9/tcp sink null
discard 9/udp sink null
daytime 13/tcp
ftp 21/tcp
ssh 22/tcp
telnet 23/tcp
smtp 25/tcp mail
domain 53/tcp
domain 53/udp
tftp 69/udp
http 80/tcp www
pop3 110/tcp pop-3
ntp 123/udp
imap2 143/tcp imap
snmp 161/tcp
snmp 161/udp
https 443/tcp
https 443/udp
syslog 514/udp
imaps 993/tcp
`)
	protocols = readEntries("/etc/protocols", `
ip 0 IP
icmp 1 ICMP
igmp 2 IGMP
tcp 6 TCP
udp 17 UDP
dccp 33 DCCP
ipv6 41 IPv6
gre 47 GRE
esp 50 IPSEC-ESP
ah 51 IPSEC-AH
ipv6-icmp 58 IPv6-ICMP
ospf 89 OSPFIGP
sctp 132 SCTP
udplite 136 UDPLite
`)
)

func (e *entry) named(name string) bool { return e.name == name || slices.Contains(e.aliases, name) }

// GetServByName finds a service by its name or another name of it; proto "" is any protocol.
func GetServByName(name, proto string) (s Servent, ok bool) {
	return servent(func(e *entry) bool { return e.named(name) && (proto == "" || proto == e.proto) })
}

// GetServByPort finds a service by its port, in the order of this machine; proto "" is any protocol.
func GetServByPort(port int, proto string) (s Servent, ok bool) {
	return servent(func(e *entry) bool { return e.number == port && (proto == "" || proto == e.proto) })
}

func servent(is func(*entry) bool) (s Servent, ok bool) {
	list := services()
	for i := range list {
		if e := &list[i]; e.proto != "" && is(e) {
			return Servent{e.name, slices.Clone(e.aliases), e.number, e.proto}, true
		}
	}
	return s, false
}

// GetProtoByName finds a protocol by its name or another name of it.
func GetProtoByName(name string) (p Protoent, ok bool) {
	return protoent(func(e *entry) bool { return e.named(name) })
}

// GetProtoByNumber finds a protocol by its number.
func GetProtoByNumber(proto int) (p Protoent, ok bool) {
	return protoent(func(e *entry) bool { return e.number == proto })
}

func protoent(is func(*entry) bool) (p Protoent, ok bool) {
	list := protocols()
	for i := range list {
		if e := &list[i]; is(e) {
			return Protoent{e.name, slices.Clone(e.aliases), e.number}, true
		}
	}
	return p, false
}
