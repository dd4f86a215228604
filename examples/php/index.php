<?php
// A small web app: a page that says what runs.
const VERSION = "1.0.0";
header("content-type: text/plain");
header("x-version: " . VERSION);
echo "Hello from PHP, version " . VERSION . ", in the place called " . getenv("TEAL_COLOUR") . "\n";
