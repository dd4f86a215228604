// A small web app: a page that says what runs. PORT says where it listens.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

const version = "1.0.0"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-version", version)
		fmt.Fprintf(w, "Hello from Go, version %s, in the place called %s\n", version, os.Getenv("TEAL_COLOUR"))
	})
	log.Fatal(http.ListenAndServe("0.0.0.0:"+os.Getenv("PORT"), nil))
}
