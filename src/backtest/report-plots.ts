import type { Figures, ModelFigures } from './figures.js'
import { linearAxis, logAxis, logitAxis, Plot, type Axis } from './plot.js'
import type { Band, RankingFigures } from './ranking.js'

/** A model with its colour, and its figures that need labels. */
export interface Series {
  readonly name: string
  readonly className: string
  readonly figures: ModelFigures
  readonly ranking: RankingFigures
}

export function seriesOf({ models }: Figures): Series[] {
  return models.flatMap((figures, index) => (figures.ranking ? [{ name: figures.name, className: `c${index % 8}`, figures, ranking: figures.ranking }] : []))
}

export function percent(value: number, digits = 1): string {
  return Number.isFinite(value) ? `${(100 * value).toFixed(digits)} %` : '–'
}

export function short(value: number): string {
  const [size, unit] = Math.abs(value) >= 1e6 ? [1e6, 'M'] : Math.abs(value) >= 1e3 ? [1e3, 'k'] : [1, '']
  return `${Number((value / size).toPrecision(3))}${unit}`
}

function shareAxis(title: string): Axis {
  return linearAxis(title, 0, 1, (value) => percent(value, 0))
}

export function rocPlot(series: readonly Series[]): string {
  const plot = new Plot({ title: 'ROC', description: 'Frauds found against genuine events alerted.', x: shareAxis('genuine events alerted'), y: shareAxis('frauds found') })
  plot.line([{ x: 0, y: 0 }, { x: 1, y: 1 }], 'reference')
  for (const { name, className, ranking } of series) plot.line(ranking.roc, className, `${name}: AUC ${ranking.aucRoc.toFixed(4)}`)
  return plot.svg()
}

export function precisionRecallPlot(series: readonly Series[], baseRate: number): string {
  const plot = new Plot({ title: 'Precision and recall', description: 'Share of frauds among alerts against frauds found.', x: shareAxis('frauds found (recall)'), y: shareAxis('frauds among alerts (precision)') })
  plot.line([{ x: 0, y: baseRate }, { x: 1, y: baseRate }], 'reference')
  for (const { name, className, ranking, figures } of series) {
    plot.line(ranking.precisionRecall, className, `${name}: average precision ${ranking.averagePrecision.toFixed(4)}`)
    const at = ranking.atThresholds.find(({ threshold }) => threshold === figures.review)
    if (at && at.precision !== null) plot.dot(at.recall, at.precision, className, `${name} at review ${figures.review}: ${percent(at.recall)} found, ${percent(at.precision)} of alerts are frauds`)
  }
  return plot.svg()
}

export function histogramPlot({ name, className, ranking, figures }: Series): string {
  const { edges, genuine, fraud } = ranking.histogram
  const most = Math.max(10, ...genuine, ...fraud)
  const plot = new Plot({ title: `Scores of ${name}`, description: 'How many genuine and fraudulent events have which score.', height: 230, x: logitAxis('score', 0.0001, 0.9999), y: logAxis('events', 0.5, most, short) })
  const bins = (counts: readonly number[]): { from: number; to: number; y: number }[] => counts.map((count, i) => ({ from: Math.max(edges[i]!, 0.0001), to: Math.min(edges[i + 1]!, 0.9999), y: Math.max(count, 0.1) }))
  plot.steps(bins(genuine), 'genuine', 0.1)
  plot.steps(bins(fraud), `fraud ${className}`, 0.1)
  plot.vertical(figures.review, `review ${figures.review}`)
  plot.vertical(figures.decline, `decline ${figures.decline}`)
  return plot.svg()
}

export function calibrationPlot(series: readonly Series[]): string {
  const plot = new Plot({ title: 'Calibration', description: 'Mean score of a band against the share of frauds in it.', x: logitAxis('mean score of the band', 0.0005, 0.9995), y: logitAxis('share of frauds', 0.0005, 0.9995) })
  plot.line(Array.from({ length: 41 }, (_, i) => 1 / (1 + Math.exp(7.6 - 0.38 * i))).map((p) => ({ x: p, y: p })), 'reference')
  for (const { name, className, ranking } of series) {
    const bands = ranking.calibration.filter(({ events }) => events >= calibrationEventsMin)
    plot.line(bands.map((band) => ({ x: band.meanScore, y: shareOf(band) })), className)
    for (const band of bands) {
      const { low, high } = wilson(band.frauds, band.events)
      plot.whisker(band.meanScore, low, high, className)
      plot.dot(band.meanScore, shareOf(band), className, `${name}: mean score ${band.meanScore.toPrecision(3)}, ${band.frauds.toLocaleString('en')} frauds of ${band.events.toLocaleString('en')} (${percent(shareOf(band))})`)
    }
  }
  return plot.svg()
}

/** Bands with fewer events say nothing. */
const calibrationEventsMin = 20

function shareOf({ frauds, events }: Band): number {
  return frauds / events
}

/** The 95 % interval of a share. Source: Wilson (1927). */
function wilson(hits: number, of: number): { low: number; high: number } {
  const z = 1.96
  const share = hits / of
  const middle = (share + (z * z) / (2 * of)) / (1 + (z * z) / of)
  const half = (z * Math.sqrt((share * (1 - share)) / of + (z * z) / (4 * of * of))) / (1 + (z * z) / of)
  return { low: middle - half, high: middle + half }
}

export function byDayPlot({ name, className, figures }: Series): string {
  const { byDay } = figures
  const first = byDay[0]!.day
  const last = byDay.at(-1)!.day
  const most = Math.max(5, ...byDay.map(({ alerts, frauds }) => Math.max(alerts, frauds)))
  const every = Math.max(1, Math.ceil((last - first + 1) / 6))
  const ticks = byDay.filter(({ day }) => (day - first) % every === 0).map(({ day }) => ({ at: day + 0.5, text: dateOf(day).slice(5) }))
  const x = { title: 'day', scale: (day: number) => (day - first) / (last - first + 1), ticks }
  const plot = new Plot({ title: `Alerts of ${name} by day`, description: 'Alerts, the frauds among them, and all frauds.', height: 230, x, y: linearAxis('a day', 0, most * 1.05, short) })
  const gap = last - first > 120 ? 0 : 0.08
  for (const { day, alerts, caught, frauds } of byDay) {
    const title = `${dateOf(day)}: ${alerts} alerts, ${caught} of ${frauds} frauds caught`
    plot.bar(day + gap, day + 1 - gap, 0, alerts, 'false', title)
    plot.bar(day + gap, day + 1 - gap, 0, caught, className, title)
  }
  plot.line(byDay.map(({ day, frauds }) => ({ x: day + 0.5, y: frauds })), 'frauds', 'all frauds')
  return plot.svg()
}

export function dateOf(day: number): string {
  return new Date(day * 86_400_000).toISOString().slice(0, 10)
}

export function costPlot(series: readonly Series[]): string {
  const points = series.flatMap(({ ranking }) => ranking.cost)
  const most = Math.max(10, ...points.map(({ alertsADay }) => alertsADay))
  const cheapest = Math.min(...series.map(({ ranking }) => ranking.cheapest?.costADay ?? Infinity))
  const none = Math.max(...series.map(({ ranking }) => ranking.cost[0]?.costADay ?? 0))
  const least = Math.max(0.1, Math.min(...points.filter(({ alertsADay }) => alertsADay > 0).map(({ alertsADay }) => alertsADay)))
  const top = none * 1.15
  const floor = Math.max(0, cheapest - (top - cheapest) * 0.15)
  const plot = new Plot({ title: 'Cost', description: 'Cost a day against alerts a day.', x: logAxis('alerts a day', least, most, short), y: linearAxis('cost a day', floor, top, short) })
  plot.line([{ x: least, y: none }, { x: most, y: none }], 'reference')
  for (const { name, className, ranking, figures } of series) {
    plot.line(ranking.cost.filter(({ costADay }) => costADay <= top).map(({ alertsADay, costADay }) => ({ x: Math.max(alertsADay, least), y: costADay })), className, name)
    const { cheapest: best } = ranking
    if (best) plot.dot(Math.max(best.alertsADay, least), best.costADay, className, `${name}: least cost ${short(best.costADay)} a day, at threshold ${best.threshold.toPrecision(3)} with ${short(best.alertsADay)} alerts a day`)
    const at = ranking.atThresholds.find(({ threshold }) => threshold === figures.review)
    if (at && at.alertsADay > 0) {
      const near = ranking.cost.reduce((a, b) => (Math.abs(b.alertsADay - at.alertsADay) < Math.abs(a.alertsADay - at.alertsADay) ? b : a))
      plot.dot(near.alertsADay, near.costADay, `hollow ${className}`, `${name}: at the policy's review ${figures.review}: about ${short(near.costADay)} a day`)
    }
  }
  return plot.svg()
}
