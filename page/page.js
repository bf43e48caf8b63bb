// The page for people: everything that it shows it asks of the service as any client does. No text of the service is ever read as HTML.
import { plot } from './plot.js'

const keyName = 'harrier-key'
const secondsShown = 180
const rowsShown = { scored: 24, alerts: 60, dead: 30 }
const stagesEveryMs = 10_000
const reconnectMs = { first: 500, most: 10_000 }
const ranks = ['viewer', 'scorer', 'releaser', 'admin']

const state = { me: null, topology: null, figures: [], scored: [], alerts: [], dead: [], versions: [], stages: [] }
const byId = (id) => document.getElementById(id)

/** An element with properties, listeners (onclick, …) and children; null children are left out. */
function h(name, properties = {}, ...children) {
  const made = document.createElement(name)
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value)
    else if (key === 'class') made.className = value
    else if (key in made) made[key] = value
    else made.setAttribute(key, value)
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined))
  return made
}

class Refused extends Error {
  constructor(status, { error, remedy }) {
    super(error ?? `the service answered ${status}`)
    this.status = status
    this.remedy = remedy ?? ''
  }
}

function headers() {
  const key = sessionStorage.getItem(keyName)
  return key === null ? {} : { authorization: `Bearer ${key}` }
}

async function ask(path, { body, signal } = {}) {
  const answer = await fetch(path, {
    method: body === undefined ? 'GET' : 'POST', headers: { ...headers(), ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer',
    ...(body === undefined ? {} : { body: JSON.stringify(body) }), ...(signal ? { signal } : {}),
  })
  if (answer.ok) return answer
  throw new Refused(answer.status, await answer.json().catch(() => ({})))
}
const json = async (path, options) => await (await ask(path, options)).json()
const may = (role) => state.me !== null && ranks.indexOf(state.me.role) >= ranks.indexOf(role)
const part = encodeURIComponent
const topologyPath = () => `/v1/topologies/${part(state.topology)}`

// Texts

const count = (value) => value.toLocaleString('en')
const short = (value) => (value >= 1e6 ? `${(value / 1e6).toFixed(value < 1e7 ? 2 : 1)} M` : value >= 1e4 ? `${(value / 1e3).toFixed(value < 1e5 ? 1 : 0)} k` : count(Math.round(value)))
const ms = (value) => (value >= 10_000 ? `${(value / 1000).toFixed(0)} s` : value >= 1000 ? `${(value / 1000).toFixed(1)} s` : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`)
const score = (value) => (value < 0 ? '–' : value.toFixed(3))
const percent = (share) => `${Number((share * 100).toFixed(2))} %`
const day = new Intl.DateTimeFormat('en-GB', { day: '2-digit', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit', timeZone: 'UTC', hour12: false })
function time(when) {
  const date = new Date(when)
  if (Number.isNaN(date.getTime())) return h('span', {}, '–')
  return h('time', { dateTime: date.toISOString(), title: `${date.toISOString()} (UTC)` }, day.format(date))
}
const pill = (text, kind) => h('span', { class: `pill ${kind}` }, text)
const decision = (text) => pill(text.toLowerCase(), text.toLowerCase())
const facts = (entries) => h('dl', { class: 'facts' }, entries.flatMap(([name, value]) => (value === null ? [] : [h('dt', {}, name), h('dd', {}, value)])))
const placeOf = ({ partition, offset }) => `${partition}/${offset}`

function notice(text) {
  byId('notice').textContent = text
  byId('notice').hidden = text === ''
}

function setState(text, kind) {
  const pillElement = byId('state')
  if (pillElement.textContent !== text) pillElement.textContent = text
  pillElement.className = `pill ${kind}`
}

// Figures and plots

function showFigures() {
  const newest = state.figures.at(-1)
  if (!newest) return
  const kinds = { running: 'good', failed: 'bad', elsewhere: '' }
  setState(newest.state === 'elsewhere' ? 'engine elsewhere' : newest.state, kinds[newest.state] ?? 'warn')
  const tile = (name, value, unit) => h('dl', { class: 'figure' }, h('dt', {}, name), h('dd', {}, value, unit ? h('small', {}, ` ${unit}`) : null))
  const or = (value, text) => (value === null || value === undefined ? '–' : text(value))
  byId('figures').replaceChildren(
    tile('Events per second', short(newest.eventsPerSecond)),
    tile('Lag', or(newest.lag, short), newest.lag === null ? null : 'records'),
    tile('Delay, half of events', or(newest.delayMs?.p50, ms)),
    tile('Delay, 99 of 100', or(newest.delayMs?.p99, ms)),
    tile('Scored', or(newest.totals?.scored, short), newest.entities === null ? null : `${short(newest.entities)} entities`),
    tile('Alerts', or(newest.totals?.alerts, short), newest.totals ? `${short(newest.totals.deadLetters)} dead letters` : null),
  )
  const values = (pick) => state.figures.map(pick)
  const away = newest.state === 'elsewhere' ? 'the engine runs in another process, which knows this' : 'nothing measured yet'
  plot(byId('rate'), [{ label: 'now', values: values((each) => each.eventsPerSecond) }], { format: short, slots: secondsShown, empty: away })
  plot(byId('lag'), [{ label: 'now', values: values((each) => each.lag) }], { format: short, slots: secondsShown, empty: away })
  plot(byId('delay'), [{ label: '99 of 100', values: values((each) => each.delayMs?.p99 ?? null) }, { label: 'half', values: values((each) => each.delayMs?.p50 ?? null) }], { format: ms, slots: secondsShown, empty: away })
}

// Rows

const keyOf = ({ topic, partition, offset }) => `${topic}/${partition}/${offset}`

function showRows(target, rows, cells, { empty, columns, isFresh }) {
  const body = byId(target)
  if (rows.length === 0) return body.replaceChildren(h('tr', {}, h('td', { class: 'empty', colSpan: columns }, empty)))
  body.querySelector('td.empty')?.closest('tr').remove()
  const wanted = new Set(rows.map(keyOf))
  for (const row of [...body.children]) if (!wanted.has(row.dataset.key)) row.remove()
  const there = new Set([...body.children].map((row) => row.dataset.key))
  for (const each of rows) {
    const key = keyOf(each)
    if (there.has(key)) continue
    const made = h('tr', { class: isFresh ? 'fresh' : '' }, cells(each))
    made.dataset.key = key
    body.prepend(made)
  }
}

const why = ({ explanation, reasons }) => explanation?.reasons[0]?.text ?? reasons?.[0] ?? ''
const cell = (content, kind) => h('td', { class: kind }, content)

function showLists({ isFirst, isPart }) {
  showRows('scored', state.scored, ({ value }) => [cell(time(value.event_time)), h('td', { class: 'entity', title: value.entity }, value.entity), cell(score(value.score), 'number'), cell(decision(value.decision))], { empty: 'no score yet', columns: 4, isFresh: !isFirst && !isPart })
  showRows('alerts', state.alerts, (row) => {
    const { value } = row
    const open = h('button', { class: 'link', type: 'button', onclick: () => openAlert(row), 'aria-label': `alert of ${value.entity}` }, value.entity)
    return [cell(time(value.event_time)), cell(open), cell(score(value.score), 'number'), cell(decision(value.decision)), h('td', { class: 'clip extra', title: why(value) }, why(value))]
  }, { empty: 'no alert yet', columns: 5, isFresh: !isFirst && !isPart })
  showRows('dead', state.dead, (row) => {
    const open = h('button', { class: 'link', type: 'button', onclick: () => openDeadLetter(row), title: row.message }, row.message || row.cause)
    return [cell(time(row.time)), h('td', { class: 'clip' }, open), cell(count(row.bytes), 'number extra')]
  }, { empty: 'none: everything could be read', columns: 3, isFresh: !isFirst })
}

function take({ figures, scored, alerts, deadLetters }, isFirst) {
  if (isFirst) Object.assign(state, { figures: [], scored: [], alerts: [], dead: [] })
  const add = (list, more, most) => list.push(...more) && list.splice(0, Math.max(0, list.length - most))
  add(state.figures, figures, secondsShown)
  add(state.scored, scored, rowsShown.scored)
  add(state.alerts, alerts, rowsShown.alerts)
  add(state.dead, deadLetters, rowsShown.dead)
  const newest = state.figures.at(-1)
  const isPart = newest !== undefined && newest.eventsPerSecond > rowsShown.scored
  byId('scored-note').textContent = isPart ? `a few of ${short(newest.eventsPerSecond)} a second` : 'as it comes'
  showFigures()
  showLists({ isFirst, isPart })
}

// Details

function openDetail(...content) {
  const dialog = byId('detail')
  byId('detail-body').replaceChildren(...content.filter((each) => each !== null))
  if (!dialog.open) dialog.showModal()
  dialog.scrollTop = 0
}
const closeButton = () => h('button', { type: 'button', onclick: () => byId('detail').close() }, 'Close')
const heading = (text) => h('h2', { id: 'detail-title' }, text)
const failed = (error) => h('p', { class: 'problem', role: 'alert' }, `${error.message}${error.remedy ? `: ${error.remedy}` : ''}`)

async function openAlert({ partition, offset, value }) {
  const { explanation, attributes = {}, lineage } = value
  const most = Math.max(...(explanation?.reasons ?? []).map(({ contribution }) => Math.abs(contribution)), 1e-9)
  const reason = ({ text, contribution }) => {
    const filled = h('i')
    filled.style.width = `${(100 * Math.abs(contribution)) / most}%`
    return h('div', { class: 'reason' }, h('span', {}, text), h('span', { class: 'bar', 'aria-hidden': 'true' }, filled), h('span', { class: 'number' }, `${contribution >= 0 ? '+' : ''}${contribution.toFixed(2)}`))
  }
  const past = h('div', {}, h('p', { class: 'dim' }, 'looking up'))
  openDetail(
    heading(`Alert of ${value.entity}`),
    h('p', {}, decision(value.decision), ` score ${score(value.score)} by ${value.model}`),
    facts([
      ['event', value.event_id], ['time', time(value.event_time)],
      ...Object.entries(attributes).map(([name, each]) => [name.replaceAll('_', ' '), String(each)]),
      ['lineage', lineage ? `${lineage.task}, batch ${lineage.sequence}` : null], ['record', placeOf({ partition, offset })],
    ]),
    h('h3', {}, 'Reasons'),
    explanation
      ? h('div', {}, explanation.reasons.map(reason), h('p', { class: 'dim' }, 'in log-odds, above the reference of the model'))
      : h('p', { class: 'dim' }, (value.reasons ?? []).join(', ') || 'none were computed'),
    h('h3', {}, `The newest of ${value.entity}`), past,
    h('menu', {}, closeButton()),
  )
  try {
    const { events, scanned } = await json(`${topologyPath()}/entities/${part(value.entity)}/events?partition=${partition}${value.entity.startsWith('•••') ? `&alert=${offset}` : ''}&count=20`)
    const names = Object.keys(attributes)
    const line = (each) => h('tr', {}, cell(time(each.value.event_time)), cell(score(each.value.score), 'number'), cell(decision(each.value.decision)), cell(each.value.model, 'extra'),
      names.map((name) => cell(String(each.value.attributes?.[name] ?? ''), 'number extra')), cell(each.value.event_id === value.event_id ? '← this one' : '', 'dim'))
    past.replaceChildren(
      h('div', { class: 'table-wrap' }, h('table', {},
        h('thead', {}, h('tr', {}, h('th', {}, 'Time'), h('th', { class: 'number' }, 'Score'), h('th', {}, 'Decision'), h('th', { class: 'extra' }, 'By'), names.map((name) => h('th', { class: 'number extra' }, name.replaceAll('_', ' '))), h('th', {}))),
        h('tbody', {}, events.length > 0 ? [...events].reverse().map(line) : h('tr', {}, h('td', { class: 'empty', colSpan: 5 }, 'nothing')))),
      ),
      h('p', { class: 'dim' }, `among the newest ${count(scanned)} scores of its partition`),
    )
  } catch (error) {
    past.replaceChildren(failed(error))
  }
}

function dump(hex) {
  const lines = []
  for (let at = 0; at < hex.length; at += 32) {
    const bytes = hex.slice(at, at + 32).match(/../g) ?? []
    const text = bytes.map((byte) => parseInt(byte, 16)).map((code) => (code >= 32 && code < 127 ? String.fromCharCode(code) : '.')).join('')
    lines.push(`${(at / 2).toString(16).padStart(4, '0')}  ${bytes.join(' ').padEnd(47)}  ${text}`)
  }
  return lines.join('\n')
}

async function openDeadLetter({ partition, offset }, clear = false) {
  openDetail(heading('Dead letter'), h('p', { class: 'dim' }, 'looking up'), h('menu', {}, closeButton()))
  const path = `${topologyPath()}/dead-letters/${partition}/${offset}`
  try {
    const found = await json(clear ? `${path}?clear=true` : path)
    const { cause, message, source, bytes, headers: given, key, hex, decoded, redriven, redrivenFrom, isCut, encrypted } = found
    const causes = given.filter(({ name }) => !name.startsWith('__streams.errors.'))
    openDetail(
      heading('Dead letter'),
      h('p', {}, pill(cause, 'bad'), ` ${message}`),
      facts([
        ['came from', `${source.topic}, partition ${source.partition}, offset ${count(source.offset)}`], ['written', time(found.time)], ['key', key ?? (hex !== null ? 'none' : may('admin') ? 'not shown' : 'for admins')], ['size', `${count(bytes)} bytes`],
        ['encrypted', encrypted === null ? null : `whole, under key ${encrypted}`],
        ['was sent again from', redrivenFrom], ['sent again', redriven ? h('span', {}, `by ${redriven.actor}, `, time(redriven.at), `: ${redriven.reason}`) : null],
        ['headers', causes.length > 0 ? causes.map(({ name, value }) => `${name}${value === null ? '' : `: ${value}`}`).join(', ') : null],
      ]),
      h('h3', {}, `What it says (${decoded.encoding}${decoded.schemaId === undefined ? '' : `, schema ${decoded.schemaId}`})`),
      decoded.problem ? h('p', { class: 'dim' }, decoded.problem) : null,
      h('pre', { tabIndex: 0 }, typeof decoded.value === 'string' ? decoded.value : JSON.stringify(decoded.value, null, 2)),
      hex === null ? h('p', { class: 'dim' }, may('admin') ? 'Its contents are hidden.' : 'Its contents are for admins: types stand in place of values.') : null,
      hex === null ? null : h('h3', {}, `Bytes${isCut ? ', the first 4,096' : ''}`),
      hex === null ? null : h('pre', { tabIndex: 0 }, dump(hex)),
      h('menu', {}, closeButton(), hex === null && may('admin') ? h('button', { type: 'button', title: 'It is noted in the audit that you did', onclick: () => openDeadLetter({ partition, offset }, true) }, 'Show clear text') : null, may('releaser') ? h('button', { type: 'button', class: 'primary', onclick: () => confirmRedrive(path, found) }, redriven ? 'Send once more…' : 'Send again…') : null),
    )
  } catch (error) {
    openDetail(heading('Dead letter'), failed(error), h('menu', {}, closeButton()))
  }
}

function confirmRedrive(path, { source, redriven, cause, message }) {
  confirm({
    title: redriven ? 'Send the dead letter once more' : 'Send the dead letter again',
    text: [`It goes to the end of ${source.topic}, partition ${source.partition}, as it came. If what was wrong (${cause}: ${message}) is still so, it comes back as another dead letter.`],
    button: 'Send it',
    act: ({ reason }) => json(`${path}/redrive`, { body: { reason, again: redriven !== null } }),
    done: ({ topic, partition }) => `sent: it is in ${topic}, partition ${partition}`,
  })
}

/** A dialog that asks why, says what will be, and does it. */
function confirm({ title, text, button, danger, share, act, done }) {
  const reason = h('textarea', { rows: 2, required: true, maxLength: 1000, id: 'reason' })
  const shareInput = share ? h('input', { type: 'number', min: 0.1, max: 99.9, step: 0.1, value: 5, required: true, id: 'share' }) : null
  const problem = h('p', { class: 'problem', role: 'alert' })
  const go = h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, button)
  const form = h('form', {
    onsubmit: async (event) => {
      event.preventDefault()
      go.disabled = true
      problem.textContent = ''
      try {
        const answer = await act({ reason: reason.value, share: shareInput ? Number(shareInput.value) / 100 : undefined })
        openDetail(heading(title), h('p', {}, done(answer)), h('menu', {}, closeButton()))
        await showStages()
      } catch (error) {
        problem.textContent = `${error.message}${error.remedy ? `. What to do: ${error.remedy}` : ''}`
        go.disabled = false
      }
    },
  }, text.map((line) => h('p', {}, line)), shareInput ? h('label', {}, 'Share of the entities, in %', shareInput) : null, h('label', {}, 'Reason, for those who read the ledger', reason), problem,
  h('menu', {}, h('button', { type: 'button', onclick: () => byId('detail').close() }, 'Cancel'), go))
  openDetail(heading(title), form)
  reason.focus()
}

// Models

const releasesPath = (stage) => `${topologyPath()}/stages/${part(stage)}/releases`

function change(stage, { action, model, revision, title, text, button, danger, share }) {
  confirm({
    title, text, button, danger, share,
    act: ({ reason, share: part_ }) => json(releasesPath(stage), { body: { action, reason, ...(model ? { model } : {}), ...(revision ? { revision } : {}), ...(part_ === undefined ? {} : { share: part_ }) } }),
    done: (entry) => (entry.action === 'propose' ? `revision ${entry.revision}: proposed. Somebody else has to approve it.` : `revision ${entry.revision} is in the ledger, and in force from the next batch of each process on.`),
  })
}

function stageView({ topology, stage, revision, models, rollback, candidates, proposals, rules }) {
  const champion = models.find(({ role }) => role === 'champion')
  const challenger = models.find(({ role }) => role === 'challenger')
  const action = (text, options) => h('button', { type: 'button', onclick: () => change(stage, { button: text, ...options }) }, text)
  const needs = rules.approval ? ['It becomes a proposal: somebody else has to approve it.'] : []
  const actions = (model, role) => {
    if (!may('releaser')) return null
    const all = []
    if (role !== 'champion') all.push(action('Release', { action: 'release', model, title: `Release ${model}`, text: [`${model} decides every event of ${topology}/${stage}, in place of ${champion?.model ?? 'none'}.`, ...needs] }))
    if (role === undefined || role === 'shadow') all.push(action('Canary', { action: 'canary', model, share: true, title: `Try ${model} as a canary`, text: [`${model} decides for a share of the entities, always the same ones; ${champion?.model ?? 'the champion'} for the others.`, ...needs] }))
    if (role === undefined) all.push(action('Shadow', { action: 'shadow', model, title: `Let ${model} run as a shadow`, text: [`${model} scores every event beside ${champion?.model ?? 'the champion'}, and decides nothing.`] }))
    if (role === 'challenger' || role === 'shadow') all.push(action('Withdraw', { action: 'withdraw', model, title: `Withdraw ${model}`, text: [`${model} scores no more in ${topology}/${stage}.`] }))
    return h('div', { class: 'actions' }, all)
  }
  const devices = new Map((state.figures.at(-1)?.models ?? []).map(({ model, device }) => [model, device]))
  const inForce = models.map(({ role, model, share, sha256 }) => h('tr', {},
    cell(pill(role, role === 'champion' ? 'good' : role === 'challenger' ? 'warn' : '')), h('td', { title: `sha256 ${sha256}` }, model), cell(role === 'shadow' ? 'decides nothing' : `decides ${percent(share)}`), cell(devices.get(model) ?? '', 'extra dim'), cell(actions(model, role), 'number')))
  const others = state.versions.filter(({ model }) => candidates.includes(model) && !models.some((each) => each.model === model))
  const rest = others.map(({ model, kind, registered }) => h('tr', {}, cell(pill('not in force', '')), cell(model), cell(kind), cell(registered ?? '', 'extra dim'), cell(actions(model, undefined), 'number')))
  const back = rollback !== null && may('releaser')
    ? h('div', { class: 'actions' }, action('Roll back', { action: 'rollback', danger: true, title: 'Roll back', text: [challenger ? `The canary ${challenger.model} ends; ${rollback} decides every event.` : `${rollback} decides every event again, in place of ${champion?.model}.`] }))
    : null
  const proposed = proposals.map((each) => h('tr', {}, cell(pill('proposed', 'warn')), cell(each.model), h('td', { class: 'text' }, `by ${each.actor}: ${each.reason}`), cell('', 'extra'),
    cell(may('releaser') ? h('div', { class: 'actions' },
      action('Approve', { action: 'approve', revision: each.revision, title: `Approve revision ${each.revision}`, text: [`${each.model}, proposed by ${each.actor}: ${each.reason}`] }),
      action('Reject', { action: 'reject', revision: each.revision, title: `Reject revision ${each.revision}`, text: [`${each.model}, proposed by ${each.actor}: ${each.reason}`] })) : null, 'number')))
  return h('div', { class: 'stage' },
    h('h3', {}, `${topology}/${stage}`, h('span', { class: 'dim' }, revision === 0 ? 'as the topology file says' : `revision ${revision}`), back),
    h('div', { class: 'table-wrap' }, h('table', {}, h('thead', {}, h('tr', {}, ['Role', 'Version', 'What it does'].map((text) => h('th', {}, text)), h('th', { class: 'extra' }, 'Device'), h('th', {}))), h('tbody', {}, inForce, proposed, rest))),
    ledgerView(stage, revision))
}

function ledgerView(stage, revision) {
  if (revision === 0) return null
  const body = h('div', {}, h('p', { class: 'dim' }, 'looking up'))
  const show = async () => {
    try {
      const entries = await json(`${releasesPath(stage)}?last=20`)
      body.replaceChildren(h('div', { class: 'table-wrap' }, h('table', {}, h('thead', {}, h('tr', {}, ['', 'Time', 'Action', 'Version', 'By', 'Reason'].map((text) => h('th', {}, text)))),
        h('tbody', {}, [...entries].reverse().map((each) => h('tr', {}, cell(String(each.revision), 'dim'), cell(time(each.time)), cell(each.action), cell(each.model), cell(each.actor), h('td', { class: 'text' }, each.reason)))))))
    } catch (error) {
      body.replaceChildren(failed(error))
    }
  }
  const isOpen = state.openLedgers?.has(stage) ?? false
  if (isOpen) void show()
  return h('details', {
    open: isOpen,
    ontoggle: (event) => {
      state.openLedgers ??= new Set()
      if (event.target.open && !state.openLedgers.has(stage)) void show()
      state.openLedgers[event.target.open ? 'add' : 'delete'](stage)
    },
  }, h('summary', {}, 'Ledger: who, when and why'), body)
}

async function showStages() {
  try {
    state.versions = await json('/v1/models')
    state.stages = await Promise.all(state.stageNames.map((stage) => json(`${topologyPath()}/stages/${part(stage)}`)))
    const text = JSON.stringify([state.versions, state.stages, state.figures.at(-1)?.models])
    // What is the same stays, and with it what somebody is about to press.
    if (text !== state.stagesShown) byId('stages').replaceChildren(...state.stages.map(stageView))
    state.stagesShown = text
  } catch (error) {
    if (error.status === 401) return signIn()
    byId('stages').replaceChildren(failed(error))
    state.stagesShown = ''
  }
}

// The stream

/** Events of a text/event-stream: their data, as JSON. */
async function* eventsOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    text += value
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const data = text.slice(0, end).split('\n').filter((line) => line.startsWith('data: ')).map((line) => line.slice(6)).join('\n')
      text = text.slice(end + 2)
      if (data !== '') yield JSON.parse(data)
    }
  }
}

let following = new AbortController()

async function follow() {
  following.abort()
  const { signal } = (following = new AbortController())
  let waitMs = reconnectMs.first
  while (!signal.aborted) {
    try {
      const answer = await ask(`${topologyPath()}/live`, { signal })
      let isFirst = true
      for await (const news of eventsOf(answer)) {
        take(news, isFirst)
        isFirst = false
        waitMs = reconnectMs.first
      }
    } catch (error) {
      if (signal.aborted) return
      if (error.status === 401) return signIn()
      if (error.status === 403 || error.status === 404) return notice(`${error.message}. ${error.remedy}`)
    }
    if (signal.aborted) return
    setState('connecting again', 'warn')
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    waitMs = Math.min(waitMs * 2, reconnectMs.most)
  }
}

// Who is here

function signIn(problem = '') {
  following.abort()
  const dialog = byId('sign-in')
  byId('sign-in-problem').textContent = problem || (sessionStorage.getItem(keyName) === null ? '' : 'This key is not taken: it is unknown, expired or revoked.')
  byId('key').value = ''
  if (!dialog.open) dialog.showModal()
}

byId('sign-in').addEventListener('cancel', (event) => event.preventDefault())
byId('sign-in').addEventListener('close', () => {
  sessionStorage.setItem(keyName, byId('key').value.trim())
  byId('key').value = ''
  void start()
})
byId('leave').addEventListener('click', () => {
  sessionStorage.removeItem(keyName)
  location.reload()
})
byId('detail').addEventListener('click', (event) => event.target === event.currentTarget && event.currentTarget.close())

async function start() {
  try {
    state.me = await json('/v1/me')
    const all = await json('/v1/topologies')
    byId('who').textContent = state.me.asked ? `${state.me.name}, ${state.me.role}` : ''
    byId('leave').hidden = !state.me.asked
    if (all.length === 0) {
      setState('no topology', '')
      return notice('This service has no topology that you may see. `harrier run --serve`, or `harrier serve --topology <name>`, shows its stream here.')
    }
    notice('')
    state.topology = all[0].topology
    state.stageNames = all[0].stages
    byId('topology').textContent = state.topology
    document.title = `${state.topology} – Harrier`
    showLists({ isFirst: true, isPart: false })
    void follow()
    await showStages()
  } catch (error) {
    if (error.status === 401) return signIn()
    setState('not reached', 'bad')
    notice(`${error.message}${error.remedy ? `. ${error.remedy}` : ''}`)
    setTimeout(start, reconnectMs.most)
  }
}

// Nobody looks: nothing is asked.
document.addEventListener('visibilitychange', () => {
  if (state.topology === null) return
  if (document.hidden) following.abort()
  else void follow()
})
setInterval(() => state.topology !== null && !document.hidden && !byId('detail').open && !byId('sign-in').open && showStages(), stagesEveryMs)
void start()
