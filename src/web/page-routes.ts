import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { FastifyInstance } from 'fastify'

const folder = fileURLToPath(new URL('../../../page', import.meta.url))

const files = {
  '/': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/page/page.css': { file: 'page.css', type: 'text/css; charset=utf-8' },
  '/page/page.js': { file: 'page.js', type: 'text/javascript; charset=utf-8' },
  '/page/plot.js': { file: 'plot.js', type: 'text/javascript; charset=utf-8' },
  '/page/icon.svg': { file: 'icon.svg', type: 'image/svg+xml' },
} as const

/** Only what we serve ourselves may run, be shown or be asked; nothing inline, in no frame, and forms go nowhere. */
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

/** The page for people, at /: files without data, for anybody. What it shows it asks for as every other client does. */
export function pageRoutes(app: FastifyInstance): void {
  for (const [path, { file, type }] of Object.entries(files)) {
    const bytes = readFileSync(`${folder}/${file}`)
    app.get(path, { schema: { hide: true } }, (_, reply) => reply.headers({ 'content-security-policy': contentSecurityPolicy, 'cache-control': 'no-cache' }).type(type).send(bytes))
  }
}
