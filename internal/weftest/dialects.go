package weftest

// Dialects are the families of servers as they are met.
func Dialects() []Dialect {
	all := []string{"SHARE_ACCEPTED", "SHARE_DECLINED", "SHARE_UNSHARED", "SHARE_CHANGE_PERMISSION"}
	basic := all[:3]
	type m = map[string]any
	types := func(names []string, protocols m, share ...string) []any {
		var out []any
		for _, n := range names {
			out = append(out, m{"name": n, "shareTypes": share, "protocols": protocols})
		}
		return out
	}
	nextcloud := func(version string) func(string, string) map[string]any {
		return func(origin, host string) map[string]any {
			return m{
				"enabled": true, "apiVersion": version, "endPoint": origin + "/index.php/ocm", "provider": "Nextcloud",
				"resourceTypes": types([]string{"file"}, m{"webdav": "/public.php/webdav/"}, "user", "group"),
			}
		}
	}
	plain := func(version string, capabilities ...string) func(string, string) map[string]any {
		return func(origin, host string) map[string]any {
			return m{
				"enabled": true, "apiVersion": version, "endPoint": origin + "/ocm", "provider": "Some Cloud", "capabilities": capabilities,
				"resourceTypes": types([]string{"file", "folder"}, m{"webdav": "/dav/"}, "user"),
			}
		}
	}
	newest := func(version string) func(string, string) map[string]any {
		return func(origin, host string) map[string]any {
			return m{
				"enabled": true, "apiVersion": version, "endPoint": origin + "/ocm", "provider": "New Cloud",
				"resourceTypes": types([]string{"file", "folder"}, m{"webdav": "/dav/", "webdav-receive": m{"uri": "absolute"}}, "user", "group"),
				"capabilities":  []string{"http-sig", "exchange-token", "notifications", "invites", "protocol-object"},
				"jwksUri":       origin + "/jwks", "tokenEndPoint": origin + "/token", "inviteAcceptDialog": "/accept",
			}
		}
	}
	nextcloudAt := func(version string, more m) func(string, string) map[string]any {
		return func(origin, host string) map[string]any {
			d := nextcloud("1.0-proposal1")(origin, host)
			d["version"] = version
			for k, v := range more {
				d[k] = v
			}
			if d["publicKey"] != nil {
				d["publicKey"] = m{"keyId": origin + "/ocm#signature", "publicKeyPem": d["publicKey"]}
			}
			if d["jwksUri"] != nil {
				d["jwksUri"], d["tokenEndPoint"] = origin+"/jwks", origin+"/token"
			}
			return d
		}
	}
	const pem = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK\n-----END PUBLIC KEY-----\n"
	old := Dialect{
		WebDAV: "/public.php/webdav/", Basic: true, NotifyForm: "old", Sends: basic, Hears: append([]string{"REQUEST_RESHARE", "RESHARE_UNDO"}, basic...),
		NumberID: true, Unknown: 400,
	}
	nc := func(name string, document func(string, string) map[string]any, change func(*Dialect)) Dialect {
		d := old
		d.Name, d.Document, d.SharedBy = name, document, true
		if change != nil {
			change(&d)
		}
		return d
	}
	invites := func(d *Dialect) { d.Invites, d.InviteStatus = true, 400 }
	return []Dialect{
		{
			Name: "ocm-1.5", WebDAV: "/dav/", Document: newest("1.5.0"), Signs: true, Multi: true, Folders: true, Absolute: true, Exchange: true,
			Invites: true, InviteStatus: 400, NotifyForm: "new", Sends: all, Hears: all, Unknown: 404,
		},
		{
			Name: "ocm-1.4", WebDAV: "/dav/", Document: newest("1.4.0"), Signs: true, Multi: true, Folders: true, Absolute: true, Exchange: true,
			Invites: true, InviteStatus: 400, NotifyForm: "old", Sends: basic, Hears: all, Unknown: 400,
		},
		nc("nextcloud-33+", nextcloudAt("1.1.2", m{
			"provider": "Nextcloud 35.0.1", "jwksUri": "", "capabilities": []string{"notifications", "shares", "http-sig", "invite-accepted"},
		}), func(d *Dialect) { invites(d); d.Signs = true }),
		nc("nextcloud-31/32", nextcloudAt("1.1.0", m{"publicKey": pem, "capabilities": []string{"/invite-accepted", "/notifications", "/shares"}}),
			func(d *Dialect) { invites(d); d.Cavage = true }),
		nc("nextcloud-30-", nextcloud("1.0-proposal1"), nil),
		nc("owncloud-10", func(origin, host string) map[string]any {
			return m{
				"enabled": true, "apiVersion": "1.0-proposal1", "endPoint": origin + "/index.php/apps/federatedfilesharing",
				"shareTypes": []any{m{"name": "file", "protocols": m{"webdav": "/public.php/webdav/"}}},
			}
		}, func(d *Dialect) { d.SharedBy, d.Scheme = false, true }),
		{
			Name: "ocis", WebDAV: "/dav/ocm/",
			Document: func(origin, host string) map[string]any {
				return m{
					"enabled": true, "apiVersion": "1.1.0", "endPoint": origin + "/ocm", "provider": "oCIS",
					"resourceTypes": types([]string{"file"}, m{"webdav": "/dav/ocm"}, "user"), "capabilities": []string{"/invite-accepted"},
				}
			},
			Multi: true, OptionsBad: true, NeedsInvite: true, Invites: true, UserWithHost: true, InviteStatus: 404, Plain200: true,
			SendURL: true, NotifyForm: "grantee", Sends: all[2:], Hears: all[2:], Unknown: 400,
		},
		{
			Name: "reva", WebDAV: "/remote.php/dav/ocm/",
			Document: func(origin, host string) map[string]any {
				return m{
					"enabled": true, "apiVersion": "1.3.0", "endPoint": origin + "/ocm", "provider": "CERNBox", "criteria": []string{"must-invite"},
					"resourceTypes": types([]string{"file", "folder"}, m{"webdav": "/remote.php/dav/ocm", "webdav-receive": m{"uri": "absolute"}}, "user"),
					"capabilities":  []string{"invites", "protocol-object", "invite-wayf"}, "inviteAcceptDialog": origin + "/open-cloud-mesh/accept-invite",
				}
			},
			Multi: true, OptionsBad: true, Folders: true, Absolute: true, NeedsInvite: true, Invites: true, InviteStatus: 400, Slash: true,
		},
		{
			Name: "opencloud", Profile: "reva", WebDAV: "/dav/ocm/",
			Document: func(origin, host string) map[string]any {
				return m{
					"enabled": true, "apiVersion": "1.2.0", "endPoint": origin + "/ocm", "provider": "OpenCloud",
					"resourceTypes": types([]string{"file"}, m{"webdav": "/dav/ocm"}, "user"),
					"capabilities":  []string{"invites", "webdav-uri", "protocol-object", "invite-wayf"}, "inviteAcceptDialog": origin + "/open-cloud-mesh/accept-invite",
				}
			},
			Multi: true, OptionsBad: true, Folders: true, Invites: true, UserWithHost: true, InviteStatus: 404, Plain200: true, Slash: true,
		},
		{
			Name: "opencloudmesh-go", WebDAV: "/webdav/ocm/",
			Document: func(origin, host string) map[string]any {
				return m{
					"enabled": true, "apiVersion": "1.4.0", "endPoint": origin + "/ocm", "provider": "OpenCloudMesh",
					"resourceTypes": types([]string{"file"}, m{"webdav": "/webdav/ocm/", "webdav-receive": m{"uri": "relative"}}, "user"),
					"capabilities":  []string{"http-sig", "exchange-token", "invites", "notifications"},
					"criteria":      []string{"must-use-http-sig", "must-exchange-token", "must-invite"},
					"tokenEndPoint": origin + "/token", "jwksUri": origin + "/jwks", "inviteAcceptDialog": origin + "/ui/accept-invite",
				}
			},
			Signs: true, Multi: true, ReadOnly: true, Exchange: true, NoFind: true, NeedsInvite: true, Invites: true, InviteStatus: 400, OurHost: true,
			NotifyForm: "top", Sends: all[:2], Hears: basic, Unknown: 404, Settled: true,
		},
		{
			Name: "seafile", WebDAV: "/dav/",
			Document: func(origin, host string) map[string]any {
				return m{
					"enabled": true, "apiVersion": "1.0-proposal1", "endPoint": origin + "/api/v2.1/ocm/",
					"resourceTypes": m{"name": "library", "shareTypes": []string{"user"}, "protocols": m{"Seafile API": "Seafile API"}},
				}
			},
			NoWebDAV: true, NotifyForm: "old", Unknown: 400,
		},
		{Name: "ocm-1.0", WebDAV: "/dav/", Document: plain("1.0.0"), Basic: true, Folders: true, NotifyForm: "old", Sends: basic, Hears: basic, Unknown: 400},
		{Name: "ocm-1.1", WebDAV: "/dav/", Document: plain("1.1.0", "notifications"), Multi: true, Folders: true, NotifyForm: "old", Sends: basic, Hears: all, Unknown: 404},
		{
			Name: "ocm-1.2", WebDAV: "/dav/", Document: plain("1.2.0", "notifications", "invites"), Multi: true, Folders: true, Invites: true, InviteStatus: 400,
			NotifyForm: "old", Sends: basic, Hears: all, Unknown: 404,
		},
	}
}
