package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"reflect"
	"time"

	"geodns/internal/source"
	"geodns/pkg/api"
	"geodns/pkg/operator"
)

// APITLS names the files of the API's certificates, all PEM.
type APITLS struct {
	Certificate string // the server's, with the chain above it; "": plain HTTP
	Key         string
	ClientCA    string // the CAs of client certificates; "": there are none
}

// OIDC says whose tokens are believed beside our own.
type OIDC struct {
	Issuer   string // URL; "": nobody's
	Audience string
	Name     string // the claim that names the owner of what is done; "": sub
	CA       string // file of the CAs of the issuer's certificate; "": the system's
}

// access is who may use the API. Its parts are nil where they are not configured.
type access struct {
	cfg    *Config
	tokens *reread[[]api.Token]
	roles  *reread[*api.Roles]
	tls    *reread[*api.Serving]
	oidc   *api.OIDC
	// beacons has the certificate of the listener for beacons, which lets in everybody.
	beacons *reread[*api.Serving]
}

// newAccess reads everything for the first time. False: a file cannot be used.
// changed is told of each change of rights: its kind in the audit log, and the lines that are gone and that are new; nil: nobody.
func newAccess(cfg *Config, log *slog.Logger, changed func(kind string, before, after []string), findings *source.Findings) (*access, bool) {
	if changed == nil {
		changed = func(string, []string, []string) {}
	}
	a, usable := &access{cfg: cfg}, true
	if cfg.AuthTokens != "" {
		a.tokens = &reread[[]api.Token]{
			what: "tokens", paths: []string{cfg.AuthTokens}, read: cfg.readTokens, same: sameTokens, log: log,
			changed: func(before, after []api.Token) {
				log.Info("tokens changed", "file", cfg.AuthTokens, "tokens", len(after))
				changed(operator.EntryTokens, changedTokens(before, after), changedTokens(after, before))
			},
		}
		usable = a.tokens.first(findings)
	}
	if cfg.AuthRoles != "" {
		a.roles = &reread[*api.Roles]{
			what: "roles", paths: []string{cfg.AuthRoles}, read: cfg.readRoles, log: log,
			same: func(a, b *api.Roles) bool { return reflect.DeepEqual(a, b) },
			changed: func(before, after *api.Roles) {
				log.Info("roles changed", "file", cfg.AuthRoles, "roles", after.Count())
				was, is := before.Lines(), after.Lines()
				changed(operator.EntryRoles, changedLines(was, is), changedLines(is, was))
			},
		}
		usable = a.roles.first(findings) && usable
	}
	if cfg.APITLS.Certificate != "" {
		a.tls = newServing("the API's certificates", cfg.APITLS, log)
		usable = a.tls.first(findings) && usable
	}
	if cfg.RUM.Certificate != "" {
		a.beacons = newServing("the certificate for beacons", APITLS{Certificate: cfg.RUM.Certificate, Key: cfg.RUM.Key}, log)
		usable = a.beacons.first(findings) && usable
	}
	if cfg.OIDC.Issuer != "" {
		var ok bool
		a.oidc, ok = cfg.newOIDC(log, findings)
		usable = usable && ok
	}
	if usable {
		a.check(findings)
	}
	return a, usable
}

// newServing prepares to read the certificates of a listener.
func newServing(what string, files APITLS, log *slog.Logger) *reread[*api.Serving] {
	return &reread[*api.Serving]{
		what: what, paths: []string{files.Certificate, files.Key, files.ClientCA}, same: (*api.Serving).Same, log: log,
		read: func(findings *source.Findings) (*api.Serving, bool) { return files.readServing(what, findings) },
		changed: func(_, after *api.Serving) {
			log.Info(what+" changed", "file", files.Certificate, "ends", after.Ends)
		},
	}
}

// check warns of rights that are named and of no effect.
func (a *access) check(findings *source.Findings) {
	var roles *api.Roles
	if a.roles != nil {
		roles = a.roles.value
	}
	if a.tokens != nil {
		for _, t := range a.tokens.value {
			for _, role := range t.Roles {
				if !roles.Has(role) {
					findings.Warnf(source.WholeFile(a.cfg.AuthTokens), "token %q has the role %q, which is in no file of roles: it permits nothing", t.Name, role)
				}
			}
		}
	}
	certificates, claims := roles.Bound()
	if a.cfg.APITLS.ClientCA != "" && certificates == 0 {
		findings.Warnf(source.WholeFile(a.cfg.APITLS.ClientCA), "client certificates are accepted, and no file of roles gives any of them a role: they permit nothing")
	}
	if a.oidc != nil && claims == 0 {
		findings.Warnf(source.WholeFile("auth.oidc_issuer"), "tokens of %s are accepted, and no file of roles gives any claim a role: they permit nothing", a.cfg.OIDC.Issuer)
	}
}

// readRoles reads the file of roles that is configured; what is wrong with it is reported. False: it cannot be used.
func (c *Config) readRoles(findings *source.Findings) (*api.Roles, bool) {
	data, err := ReadSmall(c.AuthRoles, api.RolesBytesMax)
	if err != nil {
		findings.Errorf(source.WholeFile(c.AuthRoles), "the API's roles cannot be read: %v", err)
		return nil, false
	}
	warnWritable(c.AuthRoles, "give rights", findings)
	return api.ParseRoles(c.AuthRoles, data, findings)
}

// readServing reads the certificates of the API, or of another listener; what is wrong with them is reported. False: they cannot be used.
func (files *APITLS) readServing(what string, findings *source.Findings) (*api.Serving, bool) {
	var texts [3][]byte
	for i, file := range []string{files.Certificate, files.Key, files.ClientCA} {
		if file == "" {
			continue
		}
		var err error
		if texts[i], err = ReadSmall(file, api.CertificatesBytesMax); err != nil {
			findings.Errorf(source.WholeFile(file), "%s cannot be read: %v", what, err)
			return nil, false
		}
		if texts[i] == nil {
			texts[i] = []byte{} // an empty file of CAs is none that is not configured
		}
	}
	serving, err := api.ParseServing(texts[0], texts[1], texts[2])
	if err != nil {
		findings.Errorf(source.WholeFile(files.Certificate), "%v", err)
		return nil, false
	}
	warnReadable(files.Key, findings)
	now := time.Now()
	if !now.Before(serving.Ends) {
		findings.Warnf(source.WholeFile(files.Certificate), "the server's certificate ended at %s; clients refuse it", serving.Ends.Format(time.RFC3339))
	}
	if serving.CAs != nil && !now.Before(serving.CAEnds) {
		findings.Warnf(source.WholeFile(files.ClientCA), "a CA of client certificates ended at %s", serving.CAEnds.Format(time.RFC3339))
	}
	return serving, true
}

// newOIDC prepares to judge the issuer's tokens. False: it cannot be done.
func (c *Config) newOIDC(log *slog.Logger, findings *source.Findings) (*api.OIDC, bool) {
	cfg := api.OIDCConfig{Issuer: c.OIDC.Issuer, Audience: c.OIDC.Audience, Name: c.OIDC.Name, Log: log}
	if c.OIDC.CA != "" {
		data, err := ReadSmall(c.OIDC.CA, api.CertificatesBytesMax)
		if err == nil {
			cfg.CAs, _, err = api.ParseCAs(data)
		}
		if err != nil {
			findings.Errorf(source.WholeFile(c.OIDC.CA), "the CAs of the OIDC issuer: %v", err)
			return nil, false
		}
	}
	o, err := api.NewOIDC(cfg)
	if err != nil {
		findings.Errorf(source.WholeFile("auth.oidc_issuer"), "%v", err)
		return nil, false
	}
	return o, true
}

// credentials are what the API asks. It listens with tls, nil for plain HTTP.
func (a *access) credentials() (who api.Access, serving *tls.Config) {
	if a.tokens != nil {
		who.Token = a.token
	}
	if a.oidc != nil {
		who.JWT, who.Issuer = a.jwt, a.cfg.OIDC.Issuer
	}
	if a.tls == nil {
		return who, nil
	}
	if a.cfg.APITLS.ClientCA != "" {
		who.Certificate = a.certificate
	}
	return who, currentTLS(a.tls)
}

// currentTLS serves with the certificates of now.
func currentTLS(of *reread[*api.Serving]) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Another config has other session tickets, so that nobody resumes what was accepted for a CA that is gone.
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now, _ := of.now()
			return now.TLS, nil
		},
	}
}

// beaconTLS is what beacons come by; nil for plain HTTP.
func (a *access) beaconTLS() *tls.Config {
	if a.beacons == nil {
		return nil
	}
	return currentTLS(a.beacons)
}

// currentRoles are those in use.
func (a *access) currentRoles() *api.Roles {
	if a.roles == nil {
		return nil
	}
	roles, _ := a.roles.now()
	return roles
}

// token tells who has a static token.
func (a *access) token(text string) (*api.Principal, bool) {
	tokens, _ := a.tokens.now()
	t := api.FindToken(tokens, text, time.Now())
	if t == nil {
		return nil, false
	}
	return a.currentRoles().Token(t), true
}

// jwt tells who has a token of the issuer.
func (a *access) jwt(ctx context.Context, text string) (*api.Principal, error) {
	claims, err := a.oidc.Claims(ctx, text)
	if err != nil {
		return nil, err
	}
	return a.currentRoles().JWT(claims), nil
}

// certificate tells who has a client certificate, which is looked at again: connections live long.
func (a *access) certificate(chain []*x509.Certificate) (*api.Principal, bool) {
	serving, _ := a.tls.now()
	if api.VerifyClient(chain, serving.CAs, time.Now()) != nil {
		return nil, false
	}
	name, err := api.CertificateName(chain[0])
	if err != nil {
		return nil, false
	}
	return a.currentRoles().Certificate(name), true
}

// document tells of the credentials without telling them.
func (a *access) document() api.Auth {
	var d api.Auth
	who, _ := a.credentials()
	d.Open = !who.Configured()
	if a.tokens != nil {
		a.documentTokens(&d)
	}
	if a.roles != nil {
		roles, refused := a.roles.now()
		r := &api.AuthRoles{File: a.cfg.AuthRoles, Roles: roles.Count(), Refused: refused}
		r.Certificates, r.Claims = roles.Bound()
		d.Roles = r
	}
	if a.tls != nil {
		s, refused := a.tls.now()
		d.TLS = &api.AuthTLS{Certificate: a.cfg.APITLS.Certificate, Ends: s.Ends, ClientCA: a.cfg.APITLS.ClientCA, CAEnds: s.CAEnds, Refused: refused}
	}
	if a.oidc != nil {
		d.OIDC = a.oidc.Document()
	}
	return d
}

// documentTokens adds the tokens to a document.
func (a *access) documentTokens(d *api.Auth) {
	tokens, refused := a.tokens.now()
	d.File, d.Tokens, d.Refused = a.cfg.AuthTokens, len(tokens), refused
	now := time.Now()
	for i := range tokens {
		if tokens[i].Expired(now) {
			d.Expired++
		}
	}
}
