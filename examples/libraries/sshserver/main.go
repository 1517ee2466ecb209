// Command sshserver is a server of SSH, by golang.org/x/crypto/ssh over a net.Listener of the engine: it says what it was
// asked to run.
//
// In come an interface, an address and a password; out come lines, the first of which is the server's key as a client's
// known_hosts has it. It must never hold the interface when it has ended.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"

	"golang.org/x/crypto/ssh"

	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 4 {
		log.Fatal("usage: sshserver INTERFACE ADDRESS/PREFIX PASSWORD")
	}
	if err := serve(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, device, addr, password string) error {
	prefix, err := netip.ParsePrefix(addr)
	if err != nil {
		return err
	}
	st, err := socketapi.Open(host.Config{Interfaces: []host.Interface{{Name: device, Addrs: []netip.Prefix{prefix}}}})
	if err != nil {
		return err
	}
	defer st.Close()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return err
	}
	cfg := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, given []byte) (*ssh.Permissions, error) {
		if subtle.ConstantTimeCompare(given, []byte(password)) != 1 {
			return nil, errors.New("another password")
		}
		return nil, nil
	}}
	cfg.AddHostKey(signer)
	l, err := st.Listen("tcp", ":22")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	fmt.Printf("%slistening\n", ssh.MarshalAuthorizedKey(signer.PublicKey()))
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go session(c, cfg)
	}
}

// session serves one client.
func session(c net.Conn, cfg *ssh.ServerConfig) {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		log.Print(err)
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for channel := range channels {
		if channel.ChannelType() != "session" {
			channel.Reject(ssh.UnknownChannelType, "sessions alone")
			continue
		}
		ch, requests, err := channel.Accept()
		if err != nil {
			return
		}
		go run(conn.User(), ch, requests)
	}
}

// run answers what a session asks for.
func run(user string, ch ssh.Channel, requests <-chan *ssh.Request) {
	defer ch.Close()
	for r := range requests {
		var command struct{ Line string }
		known := r.Type == "exec" && ssh.Unmarshal(r.Payload, &command) == nil
		r.Reply(known, nil)
		if known {
			fmt.Fprintf(ch, "%s wants %q\n", user, command.Line)
			ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
			return
		}
	}
}
