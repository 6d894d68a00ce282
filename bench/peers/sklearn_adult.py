"""The Adult table to a logistic model in pandas and scikit-learn: read, one-hot, standardise, fit, score. The process is timed.

usage: sklearn_adult.py TRAIN TEST     both with a header; prints the test AUROC
"""
import sys

import pandas
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

train, test = (pandas.read_csv(path, skipinitialspace=True, na_values="?") for path in sys.argv[1:3])
numbers = train.drop(columns="income").select_dtypes("number").columns
words = [name for name in train.columns if name not in numbers and name != "income"]
prepare = make_column_transformer(
    (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
    (make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore")), words))
model = make_pipeline(prepare, LogisticRegression(max_iter=1000))
truth = lambda table: table["income"].str.rstrip(".").eq(">50K")
model.fit(train.drop(columns="income"), truth(train))
print("%.4f" % roc_auc_score(truth(test), model.predict_proba(test.drop(columns="income"))[:, 1]))
