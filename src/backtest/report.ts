import type { BacktestOptions } from './backtest-options.js'
import type { BacktestResult, DecisionChange } from './backtest.js'
import type { DisagreeingEvent, Disagreement, ModelFigures } from './figures.js'
import { escapeHtml } from './plot.js'
import { byDayPlot, calibrationPlot, costPlot, histogramPlot, percent, precisionRecallPlot, rocPlot, seriesOf, short, type Series } from './report-plots.js'
import { reportStyle } from './report-style.js'

/** The whole report as one HTML file that needs nothing else: no script, no font, no request. */
export function renderReport(result: BacktestResult, options: BacktestOptions): string {
  const { figures, topology } = result
  const series = seriesOf(figures)
  const sections = [
    heading(result, options),
    live(result),
    summaryTable(figures.models, options),
    changes(result),
    ...(series.length > 0 ? plots(series, result, options) : [noLabels]),
    ...(figures.disagreements.length > 0 ? [disagreements(figures.disagreements)] : []),
    about(result, options),
  ]
  return [
    '<!doctype html>', '<html lang="en">', '<head>', '<meta charset="utf-8">', '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>Backtest of ${escapeHtml(topology.name)}</title>`, `<style>${reportStyle}</style>`, '</head>', '<body>', '<main>', ...sections.filter((each) => each !== ''), '</main>', '</body>', '</html>', '',
  ].join('\n')
}

const noLabels = '<section><h2>No labels</h2><p>None of these events has a label, so there is nothing that a score could be measured by. Give <code>--labels</code>, or a table with a column <code>is_fraud</code>.</p></section>'

function n(value: number): string {
  return value.toLocaleString('en')
}

function date(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

function heading({ topology, from, figures, models }: BacktestResult, { whatIf }: BacktestOptions): string {
  const facts: [string, string, string][] = [
    ['events', n(figures.events), `${date(figures.firstMs)} to ${date(figures.lastMs)}`],
    ['frauds', figures.labelled === 0 ? '–' : n(figures.frauds), figures.labelled === 0 ? 'no labels' : `${percent(figures.frauds / figures.labelled, 2)} of ${figures.labelled === figures.events ? 'all' : `${n(figures.labelled)} with a label`}`],
    ['days', n(figures.days), figures.labelled === 0 ? '' : `${(figures.frauds / Math.max(1, figures.days)).toFixed(1)} frauds a day`],
    ['models', n(models.length), models.map(({ model }) => model).join(', ')],
  ]
  return [
    '<header>', `<p class="kicker">Backtest</p>`, `<h1>${escapeHtml(topology.name)}</h1>`,
    `<p class="lead">${escapeHtml(from)}, folded and scored by the engine's own code.${whatIf ? ` What if: <code>${escapeHtml(whatIf.text)}</code>.` : ''}</p>`,
    '<dl class="facts">', ...facts.map(([name, value, more]) => `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd><dd class="more">${escapeHtml(more)}</dd></div>`), '</dl>', '</header>',
  ].join('')
}

function live({ live: comparison }: BacktestResult): string {
  if (!comparison) return ''
  const { topic, isEqual, models, missing, decisions, deviceClasses } = comparison
  const anyAnew = models.some(({ begunAnew }) => begunAnew > 0)
  const rows = models.map(({ model, compared, equal, largestDifference, begunAnew, isLive }) => {
    const cells = `<td>${n(compared)}</td><td>${n(equal)}</td><td>${largestDifference === 0 ? '0' : largestDifference.toExponential(2)}</td>${anyAnew ? `<td>${n(begunAnew)}</td>` : ''}`
    return `<tr><th>${escapeHtml(model)}</th>${isLive ? cells : `<td colspan="${anyAnew ? 4 : 3}">has not scored on this topic</td>`}</tr>`
  })
  const verdict = isEqual ? 'These are the live scores, bit for bit.' : 'These are not the live scores.'
  return [
    `<section><div class="verdict ${isEqual ? 'good' : 'bad'}"><strong>${verdict}</strong> Compared with <code>${escapeHtml(topic)}</code>: `,
    `${n(decisions.equal)} of ${n(decisions.compared)} decisions are the same${missing > 0 ? `; ${n(missing)} events are not on the topic` : ''}. `,
    `Scored there on ${escapeHtml(deviceClasses.join('; '))}.</div>`,
    '<table><thead><tr><th>model</th><th>scores compared</th><th>with the same bits</th><th>largest difference</th>', anyAnew ? '<th>states begun anew by a release: not compared</th>' : '', '</tr></thead><tbody>', ...rows, '</tbody></table></section>',
  ].join('')
}

function summaryTable(models: readonly ModelFigures[], { alertsADay, cardsADay }: BacktestOptions): string {
  const best = (value: (model: ModelFigures) => number | null | undefined): number => Math.max(...models.map((model) => value(model) ?? -Infinity))
  const columns: { head: string; value: (model: ModelFigures) => number | null | undefined; show: (value: number) => string }[] = [
    { head: 'AUC ROC', value: ({ ranking }) => ranking?.aucRoc, show: (v) => v.toFixed(4) },
    { head: 'average precision', value: ({ ranking }) => ranking?.averagePrecision, show: (v) => v.toFixed(4) },
    { head: `card precision@${cardsADay}`, value: ({ cardPrecision }) => cardPrecision, show: (v) => v.toFixed(4) },
    { head: `recall at ${n(alertsADay)} alerts a day`, value: ({ ranking }) => ranking?.atBudget.recall, show: (v) => percent(v) },
  ]
  const unscored = models.some((model) => model.unscored > 0) ? '<th>without a score</th>' : ''
  const bests = columns.map(({ value }) => best(value))
  const rows = models.map((model, index) => {
    const { ranking, review } = model
    const at = ranking?.atThresholds.find(({ threshold }) => threshold === review)
    const cells = columns.map(({ value, show }, c) => {
      const v = value(model)
      return `<td${models.length > 1 && v === bests[c] ? ' class="best"' : ''}>${v === null || v === undefined || !Number.isFinite(v) ? '–' : show(v)}</td>`
    })
    const alerts = model.byDay.reduce((sum, day) => sum + day.alerts, 0) / Math.max(1, model.byDay.length)
    const policy = `<td>${alerts.toFixed(1)}</td><td>${at?.precision === null || at?.precision === undefined ? '–' : percent(at.precision)}</td><td>${at ? percent(at.recall) : '–'}</td>`
    return `<tr><th><span class="swatch c${index % 8}"></span>${escapeHtml(model.name)}</th>${cells.join('')}${policy}${unscored ? `<td>${n(model.unscored)}</td>` : ''}</tr>`
  })
  return [
    '<section><h2>Models</h2><div class="scroll"><table class="models"><thead>',
    `<tr class="groups"><th></th><th colspan="${columns.length}">as a ranking</th><th colspan="3">at the policy's review threshold</th>${unscored ? '<th></th>' : ''}</tr>`,
    `<tr><th>model</th>${columns.map(({ head }) => `<th>${head}</th>`).join('')}<th>alerts a day</th><th>of them fraud</th><th>frauds found</th>${unscored}</tr></thead><tbody>`, ...rows, '</tbody></table></div></section>',
  ].join('')
}

function legend(series: readonly Series[]): string {
  return `<p class="legend">${series.map(({ name, className }) => `<span><span class="swatch ${className}"></span>${escapeHtml(name)}</span>`).join('')}</p>`
}

function figure(title: string, svg: string, caption: string): string {
  return `<figure><h3>${escapeHtml(title)}</h3>${svg}<figcaption>${caption}</figcaption></figure>`
}

function plots(series: readonly Series[], { figures }: BacktestResult, { reviewCost, loss }: BacktestOptions): string[] {
  const lossText = 'each' in loss ? `${n(loss.each)} for each missed fraud` : `${escapeHtml(loss.field)}${loss.factor === 1 ? '' : ` × ${loss.factor}`} of each missed fraud`
  const threshold = (value: number): string => (value === Infinity ? 'above 1' : value.toPrecision(2))
  const cheapest = series.map(({ name, ranking }) => `${escapeHtml(name)}: ${ranking.cheapest ? `${short(ranking.cheapest.costADay)} at threshold ${threshold(ranking.cheapest.threshold)}` : '–'}`).join('; ')
  const cost = `${n(reviewCost)} for each review, ${lossText}. Dashed: no alerts at all. Dot: the least cost (${cheapest}). Ring: the policy's review threshold.`
  const key = (...entries: readonly (readonly [swatch: string, text: string])[]): string => `<p class="legend">${entries.map(([swatch, text]) => `<span><span class="swatch ${swatch}"></span>${text}</span>`).join('')}</p>`
  const caught = key(['false', 'alerts on genuine events'], ['fraudulent', 'caught frauds, in the colour of the model'], ['frauds', 'all frauds'])
  return [
    [
      '<section><h2>How well they rank</h2>', legend(series), '<div class="grid">',
      figure('ROC', rocPlot(series), 'The dashed line is guessing.'),
      figure('Precision and recall', precisionRecallPlot(series, figures.frauds / figures.labelled), 'A dot is the policy\'s review threshold; the dashed line is guessing.'),
      figure('Calibration', calibrationPlot(series), 'On the dashed line a score is a probability. Bars are 95 % intervals; both axes in log-odds.'),
      figure('Cost', costPlot(series), cost),
      '</div></section>',
    ].join(''),
    [
      '<section><h2>Scores</h2>', key(['genuine', 'genuine'], ['fraudulent', 'fraud, in the colour of the model']), '<div class="grid">',
      ...series.map((each) => figure(each.name, histogramPlot(each), 'Events by score; counts grow by tens, scores by log-odds.')), '</div></section>',
    ].join(''),
    ['<section><h2>Alerts and caught frauds by day</h2>', caught, '<div class="grid">', ...series.map((each) => figure(each.name, byDayPlot(each), `At review ${each.figures.review}.`)), '</div></section>'].join(''),
  ]
}

const decisions = ['APPROVE', 'REVIEW', 'DECLINE']

function changes({ changes: all, whatIf }: BacktestResult): string {
  if (all.length === 0) return ''
  const find = (from: string, to: string): DecisionChange | undefined => all.find((each) => each.from === from && each.to === to)
  const rows = decisions.map((from) => `<tr><th>${from}</th>${decisions.map((to) => {
    const cell = find(from, to)
    return `<td${from === to ? ' class="same"' : ''}>${cell ? n(cell.events) : '0'}<small>${cell ? `${n(cell.frauds)} frauds` : ''}</small></td>`
  }).join('')}</tr>`)
  const moved = all.filter(({ from, to }) => from !== to)
  return [
    `<section><h2>What if</h2><p><code>${escapeHtml(whatIf ?? '')}</code> would have decided ${n(moved.reduce((sum, { events }) => sum + events, 0))} events otherwise, ${n(moved.reduce((sum, { frauds }) => sum + frauds, 0))} of them frauds.</p>`,
    `<div class="scroll"><table class="changes"><thead><tr><th>as it is ↓ · what if →</th>${decisions.map((each) => `<th>${each}</th>`).join('')}</tr></thead><tbody>`, ...rows, '</tbody></table></div></section>',
  ].join('')
}

function disagreeingRow({ eventId, card, eventTimeMs, a, b, isFraud }: DisagreeingEvent): string {
  const truth = isFraud === null ? 'unknown' : isFraud ? '<strong class="is-fraud">fraud</strong>' : 'genuine'
  const time = new Date(eventTimeMs).toISOString().slice(0, 19).replace('T', ' ')
  return `<tr><th>${escapeHtml(eventId)}</th><td>${escapeHtml(card)}</td><td>${time}</td><td>${a.toFixed(4)}</td><td>${b.toFixed(4)}</td><td>${truth}</td></tr>`
}

function disagreements(all: readonly Disagreement[]): string {
  const tables = all.map(({ a, b, otherDecision, correlation, top }) => [
    `<h3>${escapeHtml(a)} and ${escapeHtml(b)}</h3>`, `<p>${n(otherDecision)} events are an alert of one and not of the other${correlation === null ? '' : `; correlation of the scores ${correlation.toFixed(3)}`}.</p>`,
    top.length === 0
      ? '<p>Their scores are the same.</p>'
      : `<div class="scroll"><table><thead><tr><th>event</th><th>card</th><th>time</th><th>${escapeHtml(a)}</th><th>${escapeHtml(b)}</th><th>truth</th></tr></thead><tbody>${top.map(disagreeingRow).join('')}</tbody></table></div>`,
  ].join(''))
  return `<section><h2>Where they disagree most</h2><div class="pairs">${tables.map((each) => `<div>${each}</div>`).join('')}</div></section>`
}

function about({ topology, engine, models, warmUp, refused, firstRefusal, read, secondsScoring, notes, figures }: BacktestResult, { sinceMs, untilMs, reviewCost }: BacktestOptions): string {
  const measured = `${sinceMs === undefined ? 'from the first event' : `event times from ${new Date(sinceMs).toISOString()}`}${untilMs === undefined ? '' : ` to ${new Date(untilMs).toISOString()}`}`
  const rows: [string, string][] = [
    ['topology', `${escapeHtml(topology.file)}, from stage ${escapeHtml(topology.stage)}, digest <code>${topology.digest.slice(0, 16)}</code>`],
    ['models', models.map(({ model, sha256, device }) => `${escapeHtml(model)} <code>${sha256.slice(0, 16)}</code> on ${device}`).join('<br>')],
    ['engine', `Harrier ${escapeHtml(engine.harrier)}; ${escapeHtml(engine.deviceClass)}`],
    ['range', `${measured}; ${n(read)} records read, ${n(warmUp)} events of warm-up, ${n(figures.late)} late`],
    ['not scored', refused === 0 ? 'none' : `${n(refused)} records; the first: ${escapeHtml(firstRefusal ?? '')}`],
    ['time', `${secondsScoring.toFixed(1)} s for folding and scoring, ${n(Math.round(read / secondsScoring))} records/s`],
  ]
  return [
    '<section class="about"><h2>How this was made</h2><table><tbody>', ...rows.map(([name, value]) => `<tr><th>${name}</th><td>${value}</td></tr>`), '</tbody></table>',
    notes.length > 0 ? `<ul>${notes.map((note) => `<li>${escapeHtml(note)}</li>`).join('')}</ul>` : '',
    '<h3>What the figures mean</h3><ul>',
    '<li><strong>AUC ROC</strong>: how often a fraud scores above a genuine event; a tie counts half. <strong>Average precision</strong>: the mean of the precision over the frauds, in the order of scores.</li>',
    '<li><strong>Card precision@k</strong>: of the k cards with the highest scores of a day, the share that had a fraud on it; cards whose fraud was found on an earlier day of the week',
    ' are left out. Mean over the days of whole weeks, which begin with the first day.</li>',
    '<li><strong>Recall at a budget</strong>: the frauds among the highest scores, as many as people can look at in all days together.</li>',
    `<li><strong>Cost</strong>: ${n(reviewCost)} times the alerts, and the loss of every fraud below the threshold.</li>`,
    '<li>Events without a label are left out of everything that needs one.</li></ul></section>',
  ].join('')
}
