"""What makes robustness results of a model doubtful: `diagnose(model, inputs, labels)`. See docs/diagnosis.md.

    >>> from minadv.diagnosis import diagnose
    >>> for finding in diagnose(model, inputs, labels).findings:
    ...     finding.severity, finding.seen, finding.matters, finding.remedy

`comparisons` judges stored distances, `random_search` is the gradient-free search.
"""

from minadv.diagnosis.comparisons import beaten, worse_with_more_steps
from minadv.diagnosis.finding import Finding
from minadv.diagnosis.run import Diagnosis, diagnose, diagnose_or_finding, static_findings

__all__ = [
    "Diagnosis",
    "Finding",
    "beaten",
    "diagnose",
    "diagnose_or_finding",
    "static_findings",
    "worse_with_more_steps",
]
