import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { chromium, type Browser, type Page } from 'playwright-core'

const places = [process.env.HARRIER_CHROMIUM ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const program = places.find((path) => path !== '' && existsSync(path))

/** Why a test in a browser cannot be; false: it can. */
export const noBrowser = program === undefined ? 'there is no Chromium: . scripts/chromium.sh finds or installs one' : false

/** A page in Chromium, and what went wrong in it: scripts that failed, what the content security policy stopped. */
export interface OpenPage {
  readonly page: Page
  readonly problems: string[]
  close(): Promise<void>
}

export async function openPage(url: string, timeoutMs: number): Promise<OpenPage> {
  // Its sandbox needs rights of the kernel that containers have not; nothing foreign is opened.
  const browser: Browser = await chromium.launch({ executablePath: program!, args: ['--no-sandbox', '--disable-gpu'], timeout: timeoutMs })
  const page = await browser.newPage({ viewport: { width: 1360, height: 900 } })
  page.setDefaultTimeout(timeoutMs)
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(error.message))
  // that a key is not taken is an answer, which the browser writes down, too
  page.on('console', (message) => message.type() === 'error' && !/status of 401/.test(message.text()) && problems.push(message.text()))
  await page.goto(url)
  return { page, problems, close: () => browser.close() }
}

/** Signs in with a wrong key first, which the page says is not taken. */
export async function signIn(page: Page, key: string): Promise<void> {
  const enter = async (text: string): Promise<void> => {
    await page.locator('#sign-in[open]').waitFor()
    await page.fill('#key', text)
    await page.click('#sign-in button')
  }
  await enter('somebody')
  await page.getByText('This key is not taken').waitFor()
  await enter(key)
  await page.locator('#who', { hasText: key }).waitFor()
}

/** The reason is typed, the button of the dialog is pressed, and what the page says then is given. */
export async function confirmWith(page: Page, reason: string, button: string): Promise<string> {
  await page.fill('#reason', reason)
  await page.locator('#detail').getByRole('button', { name: button, exact: true }).click()
  await page.locator('#detail form').waitFor({ state: 'detached' })
  const said = await page.locator('#detail p').first().innerText()
  await page.locator('#detail').getByRole('button', { name: 'Close' }).click()
  return said
}

/** The style that a browser gives to something in the page: nothing is shown that was meant to be hidden, and the other way round. */
export async function assertReadable(page: Page): Promise<void> {
  const widths = await page.evaluate('[document.documentElement.scrollWidth, window.innerWidth]') as [number, number]
  assert.ok(widths[0] <= widths[1], `the page is ${widths[0]} wide, the window ${widths[1]}`)
}
