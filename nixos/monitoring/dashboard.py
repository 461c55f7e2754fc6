#!/usr/bin/env python3
"""Writes the Grafana dashboard. The panels are listed here, because the JSON that Grafana wants is ten times as long."""

import json
from pathlib import Path

TARGET = Path(__file__).resolve().parent / "dashboards" / "viva.json"
WIDTH = 24


def quantile(q, metric, by, selector=""):
    return f'histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket{{{join(selector)}}}[$__rate_interval])))'


def join(*selectors):
    return ",".join(['instance=~"$instance"', *[s for s in selectors if s]])


def per_second(metric, by, selector=""):
    return f"sum by ({by}) (rate({metric}{{{join(selector)}}}[$__rate_interval]))"


def gauge(metric, selector=""):
    return f"{metric}{{{join(selector)}}}"


# Row, then its panels: title, unit, width, and the queries with their legends.
ROWS = [
    ("Now", [
        ("Parts", "short", 6, [(f"min by (component) (2 * {gauge('viva_component_up')} - {gauge('viva_component_degraded')})", "{{component}}")], "state"),
        ("Registered with LiveKit", "short", 3, [(gauge("viva_livekit_registered"), "{{instance}}")], "stat"),
        ("Interviews", "short", 6, [(gauge("viva_interviews", 'state="held"'), "held, {{instance}}"), (gauge("viva_interviews_capacity"), "capacity, {{instance}}")], "timeseries"),
        ("Jobs", "reqps", 6, [(per_second("viva_jobs_total", "answer"), "{{answer}}")], "timeseries"),
        ("Start", "s", 3, [(gauge("viva_boot_ready_seconds"), "{{instance}}")], "stat"),
    ]),
    ("Interviews", [
        ("Reply, from the end of the candidate's turn", "s", 8, [(quantile(q, "viva_turn_stage_seconds", "instance", 'stage="turn"'), f"p{int(q * 100)} {{{{instance}}}}") for q in (0.5, 0.95)], "timeseries"),
        ("Where a reply's time goes (p95)", "s", 8, [(quantile(0.95, "viva_turn_stage_seconds", "stage", 'stage!="turn"'), "{{stage}}")], "timeseries"),
        ("Ended, by reason", "short", 4, [(f"sum by (reason) (increase(viva_interviews_ended_total{{{join()}}}[$__interval]))", "{{reason}}")], "timeseries"),
        ("Stuck", "short", 4, [(f"sum by (instance) (increase(viva_sessions_stuck_total{{{join()}}}[$__interval]))", "{{instance}}"), (gauge("viva_threads_held"), "threads held, {{instance}}")], "timeseries"),
    ]),
    ("Providers", [
        ("Requests", "reqps", 12, [(per_second("viva_provider_requests_total", "provider, outcome"), "{{provider}}: {{outcome}}")], "timeseries"),
        ("Breaker open", "short", 12, [(gauge("viva_provider_breaker_open"), "{{provider}}, {{instance}}")], "timeseries"),
    ]),
    ("Journal", [
        ("Commit", "s", 8, [(quantile(q, "viva_journal_commit_seconds", "instance"), f"p{int(q * 100)} {{{{instance}}}}") for q in (0.5, 0.99)], "timeseries"),
        ("Events and commits", "ops", 8, [(per_second("viva_journal_events_total", "instance"), "events, {{instance}}"), (per_second("viva_journal_commits_total", "instance"), "commits, {{instance}}"), (gauge("viva_journal_queue_length"), "waiting, {{instance}}")], "timeseries"),
        ("Behind in Postgres", "s", 8, [(gauge("viva_sync_lag_seconds"), "{{instance}}")], "timeseries"),
    ]),
    ("Process", [
        ("Late (p99)", "s", 5, [(quantile(0.99, "viva_event_loop_lag_seconds", "instance"), "event loop, {{instance}}"), (quantile(0.99, "viva_audio_tick_lag_seconds", "instance"), "audio clock, {{instance}}")], "timeseries"),
        ("Audio threads in a hurry", "short", 3, [(gauge("viva_audio_threads_hurried"), "{{instance}}")], "timeseries"),
        ("Memory", "bytes", 5, [(gauge("process_resident_memory_bytes", 'job="viva"'), "resident, {{instance}}"), (gauge("viva_cgroup_memory_current_bytes"), "with its children and files, {{instance}}"), (gauge("viva_cgroup_memory_working_bytes"), "of it needed, {{instance}}"), (gauge("viva_cgroup_memory_high_bytes"), "slowed down above, {{instance}}"), (gauge("viva_cgroup_memory_limit_bytes"), "limit, {{instance}}")], "timeseries"),
        ("Processor", "percentunit", 3, [(per_second("process_cpu_seconds_total", "instance", 'job="viva"'), "{{instance}}"), (gauge("viva_cgroup_processors"), "quota, {{instance}}")], "timeseries"),
        ("Log lines lost", "short", 2, [(f"sum by (instance) (increase(viva_log_lines_lost_total{{{join()}}}[$__interval]))", "{{instance}}")], "timeseries"),
        ("Tasks", "short", 3, [(gauge("viva_cgroup_tasks"), "{{instance}}"), (gauge("viva_cgroup_tasks_limit"), "limit, {{instance}}")], "timeseries"),
        ("Stages of the start", "s", 3, [(f"max by (stage) ({gauge('viva_boot_stage_seconds')})", "{{stage}}")], "bargauge"),
    ]),
]

STATES = [{"type": "value", "options": {"0": {"text": "down", "color": "red"}, "1": {"text": "degraded", "color": "orange"}, "2": {"text": "up", "color": "green"}}}]
UP_OR_DOWN = [{"type": "value", "options": {"0": {"text": "down", "color": "red"}, "1": {"text": "up", "color": "green"}}}]


def panel(number, x, y, title, unit, width, queries, kind):
    is_state = kind == "state"
    return {
        "id": number,
        "type": "stat" if is_state else kind,
        "title": title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": x, "y": y, "w": width, "h": 8},
        "fieldConfig": {
            "defaults": {"unit": unit, "min": 0, **({"mappings": STATES} if is_state else {"mappings": UP_OR_DOWN} if unit == "short" and kind == "stat" else {})},
            "overrides": [],
        },
        "options": {"colorMode": "background", "textMode": "value_and_name"} if is_state else {},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expression, "legendFormat": legend, **({} if kind == "timeseries" else {"instant": True})}
            for i, (expression, legend) in enumerate(queries)
        ],
    }


def panels():
    number, y = 0, 0
    for row, content in ROWS:
        number += 1
        yield {"id": number, "type": "row", "title": row, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}, "panels": []}
        y, x = y + 1, 0
        for title, unit, width, queries, kind in content:
            number += 1
            yield panel(number, x, y, title, unit, width, queries, kind)
            x += width
        assert x == WIDTH, f"the panels of {row} are {x} wide, not {WIDTH}"
        y += 8


DASHBOARD = {
    "uid": "viva",
    "title": "Viva",
    "tags": ["viva"],
    "schemaVersion": 39,
    "timezone": "browser",
    "refresh": "30s",
    "time": {"from": "now-3h", "to": "now"},
    "templating": {
        "list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
            {
                "name": "instance",
                "type": "query",
                "label": "Instance",
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "query": {"query": "label_values(viva_build_info, instance)", "refId": "instances"},
                "refresh": 2,
                "multi": True,
                "includeAll": True,
            },
        ]
    },
    "panels": list(panels()),
}

if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(DASHBOARD, indent=2) + "\n")
