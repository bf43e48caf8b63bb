#!/usr/bin/env node
// Exit code 0 when the service, or the metrics port of an engine, is live. HARRIER_HEALTH is where: http://127.0.0.1:8080/healthz unless it says so.
import { get as getPlain } from 'node:http'
import { get as getByTls } from 'node:https'

const url = process.env.HARRIER_HEALTH || 'http://127.0.0.1:8080/healthz'
const get = url.startsWith('https:') ? getByTls : getPlain
// The certificate is for the name by which others call the service, and nothing is told here.
const request = get(url, { timeout: 4000, rejectUnauthorized: false }, (answer) => {
  answer.resume()
  process.exitCode = answer.statusCode === 200 ? 0 : 1
})
request.on('timeout', () => request.destroy(new Error('no answer')))
request.on('error', (error) => {
  console.error(error.message)
  process.exitCode = 1
})
