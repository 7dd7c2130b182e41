// Package ocm is the wire of Open Cloud Mesh 1.5: addresses, the discovery
// document, Share Creation Notifications, notifications and the token exchange.
// It knows nothing of any server, does no input or output, and depends on the
// standard library alone.
//
// # For a server that receives
//
// Hand the body of a request to [ReadShare], [ReadNotification] or
// [ReadTokenRequest]. What comes back keeps every rule that can be checked
// without knowing who signed it and who lives here, so what is left is yours:
// to verify that the signature is by the host it speaks for (Sender.Host,
// SenderDomain, ClientID; package ocm/httpsig), that a full webdav.uri is on
// that host, that the recipient exists, that an expiration is to come, and that
// you can meet each of the requirements.
//
// # For a server that sends
//
// Fill [NewShare] or [Notification] and marshal it with encoding/json: the form
// is that of 1.5. Ask the peer's [Discovery] first what it takes: Accepts,
// ReceivesAbsoluteURI, HasCapability, HasCriterion. Package ocm/client makes
// the calls.
//
// # Strict and tolerant
//
// Reading is tolerant where deployed servers differ and strict where a mistake
// would be dangerous; writing is the newest form only. Functions named Parse
// take what we would write ourselves; functions named Read take what peers
// send: hosts with a scheme, numbers for ids, the `options` of OCM 1.0. The
// vectors in testdata show each form.
//
// Every Read function bounds size, nesting and each member, and refuses broken
// Unicode and members given twice. What it accepts, it writes and reads again
// as the same.
//
// # Errors
//
// All errors are *[Error], whose Status and Code are what the peer should be
// answered, and whose Fields name every member at fault, not just the first.
// Malformed is 400, or 413 or 415; well-formed but not supported is 501.
//
// Secrets are of the type [Secret], which prints as "[redacted]". They leave it in
// the messages to a peer and through Reveal.
package ocm
