#!/bin/sh
command -v go
