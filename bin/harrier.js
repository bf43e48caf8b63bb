#!/usr/bin/env node
import { main } from '../dist/src/main.js'

await main(process.argv)
// A command that failed may have left a client connected; it must not keep the process alive.
if (process.exitCode) setTimeout(() => process.exit(), 2000).unref()
