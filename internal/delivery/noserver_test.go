package delivery

import (
	"errors"
	"net"
	"testing"
)

func TestANameThatLeadsNowhereIsToldFromSilence(t *testing.T) {
	if err := Explain("nowhere.example", &net.DNSError{IsNotFound: true}); !NoServer(err.Error()) {
		t.Errorf("%v is not known for what it is", err)
	}
	if err := Explain("away.example", errors.New("no route")); NoServer(err.Error()) {
		t.Errorf("%v is taken for a name that leads nowhere", err)
	}
}
