package api

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"geodns/pkg/server"
)

// serverDescs names the counters of the answer path.
type serverDescs struct {
	queries, responses, answers, dropped, policyAnswers *prometheus.Desc
	truncated, ecs, cookies, receives, receiveErrors    *prometheus.Desc
	sendErrors, regionAnswers                           *prometheus.Desc
	tcpOpen, tcpAccepted, tcpClosed, tcpAcceptErrors    *prometheus.Desc
}

// newServerDescs names them once.
func newServerDescs() serverDescs {
	return serverDescs{
		queries:         desc("queries_total", "Queries that came, by transport and address family.", "transport", "family"),
		responses:       desc("responses_total", "Answers, by response code.", "rcode"),
		answers:         desc("answers_total", "Answers, by what they were made of.", "kind"),
		dropped:         desc("dropped_total", "Packets that got no answer, by reason.", "reason"),
		policyAnswers:   desc("policy_answers_total", "Steered answers, by policy.", "policy"),
		regionAnswers:   desc("answers_by_region_total", "Targets in steered answers, by their regions; _other: of those that are not counted apart.", "region"),
		truncated:       desc("truncated_total", "Answers with TC set."),
		ecs:             desc("ecs_queries_total", "Queries with an EDNS Client Subnet option."),
		cookies:         desc("cookie_queries_total", "Queries with a DNS cookie, by what it was worth: the client's part alone, valid, invalid.", "cookie"),
		receives:        desc("udp_receives_total", "Receive calls that brought datagrams; queries for each are the batch size."),
		receiveErrors:   desc("receive_errors_total", "Receive calls that did not succeed."),
		sendErrors:      desc("send_errors_total", "Answers that the system would not send."),
		tcpOpen:         desc("tcp_connections", "Open TCP connections."),
		tcpAccepted:     desc("tcp_accepted_total", "TCP connections that were accepted."),
		tcpClosed:       desc("tcp_closed_total", "TCP connections that the server closed, by reason.", "reason"),
		tcpAcceptErrors: desc("tcp_accept_errors_total", "Accepts of a TCP connection that did not succeed."),
	}
}

// collect renders the counters, which the server has summed over its workers.
func (d *serverDescs) collect(s *server.Stats, gauge gaugeFunc, counter counterFunc) {
	for transport, families := range s.Queries {
		for family, n := range families {
			counter(d.queries, n, server.Transport(transport).String(), server.Family(family).String())
		}
	}
	for rcode, n := range s.Rcodes {
		if name, usual := rcodeName(rcode); usual || n > 0 {
			counter(d.responses, n, name)
		}
	}
	for kind, n := range s.Kinds {
		counter(d.answers, n, server.Kind(kind).String())
	}
	for reason, n := range s.Drops {
		counter(d.dropped, n, server.Drop(reason).String())
	}
	for name, n := range s.Policies {
		counter(d.policyAnswers, n, name)
	}
	counter(d.truncated, s.Truncated)
	counter(d.ecs, s.ECS)
	for cookie, n := range s.Cookies {
		counter(d.cookies, n, server.Cookie(cookie).String())
	}
	counter(d.receives, s.Batches)
	counter(d.receiveErrors, s.ReceiveErrors)
	counter(d.sendErrors, s.SendErrors)
	gauge(d.tcpOpen, float64(s.TCP.Open))
	counter(d.tcpAccepted, s.TCP.Accepted)
	counter(d.tcpClosed, s.TCP.Evicted, "evicted")
	counter(d.tcpClosed, s.TCP.TimedOut, "timed_out")
	counter(d.tcpAcceptErrors, s.TCP.AcceptErrors)
}

// rcodeName gives a response code its name in IANA's registry, and whether it is one that is seen on any day: those are
// there with a zero too.
func rcodeName(rcode int) (name string, usual bool) {
	switch rcode {
	case 0:
		return "NOERROR", true
	case 1:
		return "FORMERR", true
	case 2:
		return "SERVFAIL", true
	case 3:
		return "NXDOMAIN", true
	case 4:
		return "NOTIMP", true
	case 5:
		return "REFUSED", true
	case 6:
		return "YXDOMAIN", false
	case 9:
		return "NOTAUTH", false
	case 16:
		return "BADVERS", true
	case 23:
		return "BADCOOKIE", false
	default:
		return fmt.Sprintf("RCODE%d", rcode), false
	}
}
